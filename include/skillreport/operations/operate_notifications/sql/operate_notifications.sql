-- name: further_tenants
-- Inactive tenants. If the form names none: only tenants with messages, a stop, a closed channel or a suppressed address.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL')
    AND (
        %(are_named)s
        OR (
            tenant.status <> 'UNKNOWN'
            AND (
                EXISTS (
                    SELECT FROM batch.outbox AS message
                    WHERE message.tenant_id = tenant.tenant_id AND message.finished_at IS null
                )
                OR EXISTS (
                    SELECT FROM batch.outbox AS message
                    WHERE message.tenant_id = tenant.tenant_id AND message.status IN ('dead', 'expired', 'ambiguous')
                )
                OR tenant.tenant_id IN (SELECT stop.tenant_id FROM batch.message_stop AS stop)
                OR tenant.tenant_id IN (SELECT circuit.tenant_id FROM batch.channel_circuit AS circuit)
                OR tenant.tenant_id IN (SELECT known.tenant_id FROM batch.suppressed_address AS known)
            )
        )
    )
ORDER BY tenant.tenant_id;

-- name: undecidable
-- Messages that do not belong to these tenants, or that need no decision.
SELECT wanted.message_id, message.status
FROM unnest(%(message_ids)s::text[]) AS wanted (message_id)
LEFT JOIN batch.outbox AS message
    ON wanted.message_id = message.message_id AND message.tenant_id = any(%(tenant_ids)s)
WHERE message.message_id IS null OR message.status NOT IN ('ambiguous', 'dead', 'expired', 'retry')
ORDER BY wanted.message_id;

-- name: decide
-- Apply an operator's decision to messages. Requeued messages reopen their channel.
WITH decided AS (
    UPDATE batch.outbox
    SET
        status = %(status)s,
        attempts = CASE WHEN %(status)s = 'pending' THEN 0 ELSE attempts END,
        due_at = CASE WHEN %(status)s = 'pending' THEN %(now)s ELSE due_at END,
        next_attempt_at = %(now)s,
        finished_at = CASE WHEN %(status)s <> 'pending' THEN %(now)s::timestamptz END,
        reported_by = null,
        error_code = CASE WHEN %(status)s <> 'sent' THEN error_code END,
        error_class = CASE WHEN %(status)s <> 'sent' THEN error_class END,
        error_detail = CASE WHEN %(status)s <> 'sent' THEN error_detail END,
        deferred_for = null,
        decided_by = %(execution_id)s
    -- A repeated run does not decide about the same message again.
    WHERE
        message_id = any(%(message_ids)s) AND status IN ('ambiguous', 'dead', 'expired', 'retry')
        AND decided_by IS DISTINCT FROM %(execution_id)s
    RETURNING tenant_id, channel, message_id, template_key
),

opened AS (
    DELETE FROM batch.channel_circuit AS circuit
    USING decided
    WHERE
        %(status)s = 'pending'
        AND circuit.tenant_id = decided.tenant_id AND circuit.channel = decided.channel
)

SELECT
    tenant_id,
    message_id,
    %(status)s = 'pending' AND EXISTS (
        SELECT FROM batch.message_stop AS stop
        WHERE stop.tenant_id = decided.tenant_id AND coalesce(decided.template_key <> all(stop.still_sent), true)
    ) AS is_stopped
FROM decided;

-- name: list_waiting
-- Shows the ids of the message and of the application's row, but no address and no text. Messages that need a decision come
-- first.
SELECT *
FROM (
    SELECT
        message.tenant_id, message.message_id, message.channel, message.status, message.attempts,
        message.next_attempt_at, message.error_detail, message.host_log_id, message.dedupe_key,
        circuit.channel IS NOT null AS is_closed,
        count(*) OVER tenants AS messages,
        row_number() OVER (
            tenants
            ORDER BY array_position(
                '{ambiguous,dead,expired,retry,pending,sending}', message.status
            ), message.next_attempt_at, message.message_id
        ) AS place
    FROM batch.outbox AS message
    LEFT JOIN batch.channel_circuit AS circuit
        ON message.tenant_id = circuit.tenant_id AND message.channel = circuit.channel
    WHERE message.status IN ('ambiguous', 'dead', 'expired', 'retry', 'pending', 'sending')
    WINDOW tenants AS (PARTITION BY message.tenant_id)
) AS listed
WHERE place <= %(count)s
ORDER BY tenant_id, place;

-- name: list_closed_channels
SELECT tenant_id, channel, reason, opened_at
FROM batch.channel_circuit
ORDER BY tenant_id, channel;

-- name: reopen_channels
DELETE FROM batch.channel_circuit
RETURNING tenant_id;

-- name: stop_messages
-- Returns each tenant's number of messages that wait because of the stop.
WITH stopped AS (
    INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by)
    SELECT tenant_id, %(still_sent)s::text[] AS kinds, %(reason)s, %(person)s
    FROM unnest(%(tenant_ids)s::text[]) AS chosen (tenant_id)
    ORDER BY tenant_id
    ON CONFLICT (tenant_id) DO UPDATE
        SET
            still_sent = excluded.still_sent, reason = excluded.reason, entered_by = excluded.entered_by, entered_at = now()
    RETURNING tenant_id, still_sent
)

SELECT stopped.tenant_id, count(message.message_id) AS messages
FROM stopped
LEFT JOIN batch.outbox AS message
    ON
        stopped.tenant_id = message.tenant_id AND message.status IN ('pending', 'retry')
        AND coalesce(message.template_key <> all(stopped.still_sent), true)
GROUP BY stopped.tenant_id
ORDER BY stopped.tenant_id;

-- name: resume_messages
-- Returns the tenants whose messages were stopped, with the number of waiting messages.
WITH resumed AS (
    DELETE FROM batch.message_stop
    RETURNING tenant_id, still_sent
),

released AS (
    UPDATE batch.outbox AS message
    SET due_at = greatest(message.due_at, %(now)s)
    FROM resumed
    WHERE
        message.tenant_id = resumed.tenant_id AND message.status IN ('pending', 'retry')
        AND coalesce(message.template_key <> all(resumed.still_sent), true)
    RETURNING message.tenant_id
)

SELECT resumed.tenant_id, count(released.tenant_id) AS messages
FROM resumed
LEFT JOIN released ON resumed.tenant_id = released.tenant_id
GROUP BY resumed.tenant_id;

-- name: list_stops
SELECT tenant_id, reason, entered_by, entered_at
FROM batch.message_stop;
