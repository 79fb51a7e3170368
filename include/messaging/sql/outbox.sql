-- name: enqueue
-- A message is stored once: a second request finds that its key exists.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, rich, priority, host_log_id,
    due_at, next_attempt_at, dedupe_until, created_by
)
SELECT
    gen_random_uuid()::text AS message_id,
    message.tenant_id, message.dedupe_key, message.channel, message.destination, message.subject,
    message.body, message.rich, message.priority, message.host_log_id, message.due_at,
    message.due_at AS next_attempt_at,
    message.dedupe_until,
    %(created_by)s
FROM
    jsonb_to_recordset(%(messages)s) AS message (
        tenant_id text, dedupe_key text, channel text, destination text, subject text, body text, rich jsonb,
        priority smallint, host_log_id text, due_at timestamptz, dedupe_until timestamptz
    )
ORDER BY message.tenant_id, message.dedupe_key
ON CONFLICT (tenant_id, dedupe_key) DO NOTHING
RETURNING message_id;

-- name: load_statuses
SELECT tenant_id, dedupe_key, status
FROM batch.outbox
WHERE dedupe_key = any(%(dedupe_keys)s);

-- name: due_lanes
-- Tenants and channels with due messages, without closed channels.
SELECT DISTINCT message.tenant_id, message.channel
FROM batch.outbox AS message
WHERE
    message.status = any(%(statuses)s) AND message.next_attempt_at <= %(now)s
    AND NOT EXISTS (
        SELECT FROM batch.channel_circuit AS circuit
        WHERE circuit.tenant_id = message.tenant_id AND circuit.channel = message.channel
    )
ORDER BY message.tenant_id, message.channel;

-- name: claim
-- The claim is committed before anything is sent. Two senders never get the same row: each skips rows that the other has
-- locked, and a claimed row is no longer due.
WITH due AS (
    SELECT message_id
    FROM batch.outbox
    WHERE
        tenant_id = %(tenant_id)s AND channel = %(channel)s AND status = any(%(statuses)s)
        AND next_attempt_at <= %(due_before)s AND priority <= %(lowest_priority)s
    -- A postponed message comes after messages that are due earlier, so a recipient that always fails blocks no other.
    ORDER BY priority, next_attempt_at, due_at, message_id
    LIMIT %(count)s
    FOR UPDATE SKIP LOCKED
),

claimed AS (
    UPDATE batch.outbox AS message
    SET status = 'sending', lease_owner = %(owner)s, lease_until = %(lease_until)s
    FROM due
    WHERE message.message_id = due.message_id
    RETURNING
        message.message_id, message.tenant_id, message.channel, message.destination, message.subject,
        message.body, message.rich, message.attempts, message.host_log_id, message.priority, message.due_at
)

SELECT *
FROM claimed
ORDER BY priority, due_at, message_id;

-- name: park_crashed
-- Messages whose sender was lost may have arrived. An e-mail is retried, because it has the same Message-ID again.
UPDATE batch.outbox
SET
    status = CASE WHEN channel = 'email' AND attempts + 1 < %(most_letters)s THEN 'retry' ELSE 'ambiguous' END,
    attempts = attempts + 1,
    next_attempt_at = %(now)s,
    lease_owner = null,
    lease_until = null,
    error_code = 'sender_lost',
    error_class = 'network',
    error_detail = '送信中にワーカーが失われ、届いたか分かりません'
WHERE status = 'sending' AND lease_until < %(now)s
RETURNING message_id, status;

-- name: record_result
-- Only the owner of the lease records the result. If the lease expired, park_crashed has already changed the row.
UPDATE batch.outbox
SET
    status = %(status)s,
    attempts = %(attempts)s,
    next_attempt_at = %(next_attempt_at)s,
    lease_owner = null,
    lease_until = null,
    provider_message_id = %(provider_message_id)s,
    error_code = %(error_code)s,
    error_class = %(error_class)s,
    error_detail = %(error_detail)s,
    finished_at = CASE WHEN %(status)s IN ('sent', 'dead') THEN %(now)s::timestamptz END
WHERE
    message_id = %(message_id)s
    AND (
        (status = 'sending' AND lease_owner = %(owner)s)
        -- The message was parked as lost, but it has arrived.
        OR (%(status)s = 'sent' AND status IN ('retry', 'ambiguous') AND error_code = 'sender_lost')
    );

-- name: suppressed_addresses
SELECT address
FROM batch.suppressed_address;
