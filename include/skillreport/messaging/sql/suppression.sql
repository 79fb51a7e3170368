-- name: suppressed_addresses
SELECT address, reason
FROM batch.suppressed_address
WHERE suppressed_until IS null OR suppressed_until > coalesce(%(now)s::timestamptz, now());

-- name: record_bounce
-- If a letter was already sent when its address was suppressed, its bounce does not count again. An accepted letter resets the
-- count of bounces, unless it is the letter that bounced.
INSERT INTO batch.suppressed_address AS known (
    tenant_id, address, error_code, reason, bounces, suppressed_at, suppressed_until
)
VALUES (
    %(tenant_id)s, %(address)s, %(error_code)s, 'bounce', 1, %(now)s,
    CASE WHEN %(most_bounces)s > 1 THEN %(until)s::timestamptz END
)
ON CONFLICT (tenant_id, address) DO UPDATE
    SET
        error_code = excluded.error_code,
        bounces = CASE WHEN known.accepted_message_id <> %(message_id)s THEN 1 ELSE known.bounces + 1 END,
        suppressed_at = excluded.suppressed_at,
        suppressed_until = CASE
            WHEN known.accepted_message_id <> %(message_id)s OR known.bounces + 1 < %(most_bounces)s
                THEN excluded.suppressed_until
        END,
        accepted_message_id = null,
        accepted_at = null
    WHERE known.suppressed_until <= %(now)s;

-- name: record_accepted
UPDATE batch.suppressed_address AS known
SET accepted_message_id = sent.message_id, accepted_at = %(now)s
FROM unnest(%(addresses)s::text[], %(message_ids)s::text[]) AS sent (address, message_id)
WHERE
    known.tenant_id = %(tenant_id)s AND known.address = sent.address
    AND known.suppressed_until <= %(now)s AND known.accepted_message_id IS null;

-- name: forget_ended
-- The accepted letter has not bounced, so the count of bounces ends.
DELETE FROM batch.suppressed_address
WHERE accepted_at < %(accepted_before)s;

-- name: suppress_for_good
-- A complaint or an unsubscription replaces bounces, and a complaint an unsubscription: it also stops contract letters. It is
-- recorded once.
INSERT INTO batch.suppressed_address AS known (
    tenant_id, address, error_code, reason, bounces, suppressed_at, suppressed_until
)
VALUES (%(tenant_id)s, %(address)s, %(reason)s, %(reason)s, 0, %(now)s, null)
ON CONFLICT (tenant_id, address) DO UPDATE
    SET
        error_code = excluded.error_code,
        reason = excluded.reason,
        suppressed_at = excluded.suppressed_at,
        suppressed_until = null,
        accepted_message_id = null,
        accepted_at = null
    WHERE known.reason = 'bounce' OR (known.reason = 'unsubscribe' AND excluded.reason = 'complaint');

-- name: list_suppressed
SELECT tenant_id, address, reason, error_code, bounces, suppressed_at, suppressed_until, suppressions
FROM (
    SELECT
        *,
        count(*) OVER tenants AS suppressions,
        row_number() OVER (tenants ORDER BY suppressed_at DESC, address ASC) AS place
    FROM batch.suppressed_address
    WHERE
        (suppressed_until IS null OR suppressed_until > %(now)s)
        AND (%(addresses)s::text[] = '{}' OR address = any(%(addresses)s))
    WINDOW tenants AS (PARTITION BY tenant_id)
) AS listed
WHERE place <= %(count)s
ORDER BY tenant_id, place;

-- name: lift
DELETE FROM batch.suppressed_address
WHERE address = any(%(addresses)s)
RETURNING tenant_id;

-- name: not_suppressed
-- The addresses that none of these tenants has suppressed.
SELECT wanted.address
FROM unnest(%(addresses)s::text[]) AS wanted (address)
WHERE
    NOT EXISTS (
        SELECT FROM batch.suppressed_address AS known
        WHERE
            known.address = wanted.address AND known.tenant_id = any(%(tenant_ids)s)
            AND (known.suppressed_until IS null OR known.suppressed_until > %(now)s)
    )
ORDER BY wanted.address;
