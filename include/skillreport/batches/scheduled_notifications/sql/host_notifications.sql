-- name: expire_host_notifications
-- Skips notifications that are in the outbox, for example because of a closed channel. The outbox expires those.
UPDATE batch.tenant_notification AS shown
SET
    send_status = 'FAILED',
    response_code = %(code)s,
    error_details = %(reason)s,
    updated_at = now() AT TIME ZONE 'UTC'
WHERE
    -- Locked rows are skipped. The next day's run finds them again.
    id IN (
        SELECT free.id FROM batch.tenant_notification AS free
        WHERE free.id = any(%(ids)s)
        FOR UPDATE SKIP LOCKED
    )
    -- For the table's index, because the planner does not use it for the subquery through the view.
    AND id = any(%(ids)s)
    AND upper(btrim(send_status)) = 'PENDING'
    AND NOT EXISTS (
        SELECT FROM batch.outbox AS message
        WHERE message.tenant_id = shown.tenant_id AND message.dedupe_key = 'host:' || shown.id
    );
