-- The application's own rows for messages, in its words. Whoever holds one of them holds up nobody's messages: the next hourly
-- run shows what is left (mirrored_status differs from status). A row that is gone needs nothing.
WITH message AS (
    SELECT
        message_id,
        host_log_id,
        status,
        attempts,
        finished_at,
        error_code,
        error_detail
    FROM batch.outbox
    WHERE message_id = any(%(message_ids)s) AND host_log_id IS NOT null
),

free AS (
    SELECT id
    FROM batch.tenant_notification
    WHERE id IN (SELECT message.host_log_id FROM message)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
),

shown AS (
    UPDATE batch.tenant_notification AS shown
    SET
        send_status = CASE message.status
            WHEN 'sent' THEN 'SUCCESS'
            WHEN 'sending' THEN 'SENDING'
            WHEN 'retry' THEN 'RETRY'
            WHEN 'pending' THEN 'RETRY'
            ELSE 'FAILED'
        END,
        send_attempts = message.attempts,
        sent_at = CASE WHEN message.status = 'sent' THEN message.finished_at AT TIME ZONE 'UTC' END,
        response_code = message.error_code,
        error_details = message.error_detail,
        updated_at = now() AT TIME ZONE 'UTC'
    FROM message
    INNER JOIN free ON message.host_log_id = free.id
    WHERE shown.id = free.id
    RETURNING message.message_id
)

UPDATE batch.outbox AS mirrored
SET mirrored_status = message.status
FROM message
WHERE
    mirrored.message_id = message.message_id
    AND (
        message.message_id IN (SELECT shown.message_id FROM shown)
        OR message.host_log_id NOT IN (
            SELECT present.id FROM batch.tenant_notification AS present
            WHERE present.id IN (SELECT message.host_log_id FROM message)
        )
    );
