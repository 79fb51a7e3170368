-- The application's own row for a message, in its words.
UPDATE batch.tenant_notification AS shown
SET
    send_status = CASE message.status
        WHEN 'sent' THEN 'SUCCESS' WHEN 'sending' THEN 'SENDING' WHEN 'retry' THEN 'RETRY' WHEN 'pending' THEN 'RETRY' ELSE
            'FAILED'
    END,
    send_attempts = message.attempts,
    sent_at = CASE WHEN message.status = 'sent' THEN message.finished_at AT TIME ZONE 'UTC' END,
    response_code = message.error_code,
    error_details = message.error_detail,
    updated_at = now() AT TIME ZONE 'UTC'
FROM batch.outbox AS message
WHERE message.message_id = any(%(message_ids)s) AND message.host_log_id = shown.id;
