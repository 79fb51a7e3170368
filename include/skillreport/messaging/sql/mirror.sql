-- name: not_mirrored
SELECT message_id
FROM batch.outbox
WHERE host_log_id IS NOT null AND mirrored_status <> status AND status <> 'sending';

-- name: mirror_to_host
-- Write the state of messages into the application's rows, in its terms. Locked rows are skipped; the next hourly run updates
-- them (mirrored_status differs from status). Deleted rows need no update. Rows that the application has cancelled stay
-- unchanged, even if the message was sent.
WITH message AS (
    SELECT message_id, host_log_id, status, attempts, finished_at, error_code, error_detail
    FROM batch.outbox
    WHERE message_id = any(%(message_ids)s) AND host_log_id IS NOT null
),

free AS (
    SELECT id
    FROM batch.tenant_notification
    WHERE
        -- Use an array, because only a comparison with a value reaches the table's index through the view. With a subquery, all
        -- rows of the tenant would be read and locked.
        id = any(array(SELECT message.host_log_id FROM message))
        AND NOT (is_deleted OR coalesce(upper(btrim(send_status)) IN ('CANCELLED', 'CANCELED'), false))
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
            WHEN 'withdrawn' THEN 'SKIPPED'
            ELSE 'FAILED'
        END,
        send_attempts = message.attempts,
        sent_at = CASE WHEN message.status = 'sent' THEN message.finished_at AT TIME ZONE 'UTC' END,
        response_code = message.error_code,
        error_details = message.error_detail,
        updated_at = now() AT TIME ZONE 'UTC'
    FROM message
    INNER JOIN free ON message.host_log_id = free.id
    WHERE shown.id = free.id AND shown.id = any(array(SELECT message.host_log_id FROM message))
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
            SELECT present.id FROM batch.tenant_notification_now AS present
            WHERE present.id = any(array(SELECT message.host_log_id FROM message)) AND NOT present.is_withdrawn
        )
    );
