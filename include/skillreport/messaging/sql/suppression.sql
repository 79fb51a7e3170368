-- name: suppressed_addresses
-- An address that has unsubscribed and bounces counts as a bounce: contract letters ignore only the unsubscription.
SELECT
    address,
    CASE WHEN bounced_until > coalesce(%(now)s::timestamptz, now()) THEN 'bounce' ELSE reason END AS reason
FROM batch.suppressed_address
WHERE suppressed_until IS null OR suppressed_until > coalesce(%(now)s::timestamptz, now());

-- name: record_bounce
-- If an e-mail was already sent when its address was suppressed, its bounce does not count again. An accepted e-mail resets the
-- count of bounces, unless this e-mail bounced. An unsubscription stays beside the bounces.
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
            WHEN
                known.reason = 'bounce'
                AND (known.accepted_message_id <> %(message_id)s OR known.bounces + 1 < %(most_bounces)s)
                THEN excluded.suppressed_until
        END,
        bounced_until = CASE
            WHEN known.reason = 'bounce' THEN null
            WHEN known.accepted_message_id <> %(message_id)s OR known.bounces + 1 < %(most_bounces)s
                THEN excluded.suppressed_until
            ELSE 'infinity'
        END,
        accepted_message_id = null,
        accepted_at = null
    WHERE known.suppressed_until <= %(now)s OR (known.reason = 'unsubscribe' AND coalesce(known.bounced_until <= %(now)s, true));

-- name: record_accepted
UPDATE batch.suppressed_address AS known
SET accepted_message_id = sent.message_id, accepted_at = %(now)s
FROM unnest(%(addresses)s::text[], %(message_ids)s::text[]) AS sent (address, message_id)
WHERE
    known.tenant_id = %(tenant_id)s AND known.address = sent.address
    AND (known.suppressed_until <= %(now)s OR known.bounced_until <= %(now)s) AND known.accepted_message_id IS null;

-- name: forget_ended
-- The accepted e-mail has not bounced, so the count of bounces ends. An unsubscription stays.
WITH ended AS (
    DELETE FROM batch.suppressed_address
    WHERE accepted_at < %(accepted_before)s AND reason = 'bounce'
)

UPDATE batch.suppressed_address
SET bounces = 0, error_code = reason, bounced_until = null, accepted_message_id = null, accepted_at = null
WHERE accepted_at < %(accepted_before)s AND reason = 'unsubscribe';

-- name: suppress_for_good
-- A complaint replaces bounces and an unsubscription: it also stops contract letters. An unsubscription keeps a bounce that is in
-- force. It is recorded once.
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
        bounced_until = CASE
            WHEN excluded.reason = 'unsubscribe' THEN coalesce(known.suppressed_until, 'infinity')
        END,
        accepted_message_id = null,
        accepted_at = null
    WHERE known.reason = 'bounce' OR (known.reason = 'unsubscribe' AND excluded.reason = 'complaint');

-- name: list_suppressed
SELECT tenant_id, address, reason, error_code, bounces, suppressed_at, suppressed_until, bounced_until, suppressions
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
