-- Claimed and committed before the network is touched. Two senders never get the same row: each skips what the other has locked,
-- and afterwards it is no longer due.
WITH due AS (
    SELECT message_id
    FROM batch.outbox
    WHERE
        tenant_id = %(tenant_id)s AND channel = %(channel)s AND status = any(%(statuses)s)
        AND next_attempt_at <= %(due_before)s AND priority <= %(lowest_priority)s
    -- What was put off comes after what has waited longer for its turn: a recipient that is always refused blocks no other.
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
        message.message_id,
        message.tenant_id,
        message.channel,
        message.destination,
        message.subject,
        message.body,
        message.rich,
        message.attempts,
        message.host_log_id,
        message.priority,
        message.due_at
)

SELECT *
FROM claimed
ORDER BY priority, due_at, message_id;
