-- name: defer
-- The waiting messages of the transaction's tenants: those of the given kinds, otherwise all except contract letters. Messages
-- that a user has decided about are sent.
UPDATE batch.outbox
SET
    deferred_for = %(batch_id)s,
    error_detail = '停止後の「再開の承認」を待っています'
WHERE
    status = any(%(statuses)s) AND deferred_for IS null AND decided_by IS null
    AND CASE
        WHEN %(kinds)s::text[] IS null THEN coalesce(template_key <> all(%(contract_letters)s), true)
        ELSE template_key = any(%(kinds)s)
    END
RETURNING tenant_id;

-- name: answer
-- Runs across tenants, as batch_platform. Messages that are due after send_after are sent by the next run of BATCH-019-02, which
-- also writes the state of the others to the application's rows. The time until a message expires begins with the answer.
WITH judged AS (
    SELECT message_id, due_at > %(send_after)s::timestamptz AS is_sent
    FROM batch.outbox
    WHERE deferred_for = %(batch_id)s
    FOR UPDATE
)

UPDATE batch.outbox AS message
SET
    deferred_for = null,
    decided_by = %(execution_id)s,
    error_detail = null,
    status = CASE WHEN judged.is_sent THEN message.status ELSE 'discarded' END,
    finished_at = CASE WHEN judged.is_sent THEN null ELSE %(now)s::timestamptz END,
    due_at = CASE WHEN judged.is_sent THEN greatest(message.due_at, %(now)s) ELSE message.due_at END
FROM judged
WHERE message.message_id = judged.message_id
RETURNING message.status;
