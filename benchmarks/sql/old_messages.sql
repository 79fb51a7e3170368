-- name: old_messages
-- One finished message in the outbox per notification of the application.
INSERT INTO batch.outbox (
    message_id,
    tenant_id,
    dedupe_key,
    channel,
    destination,
    subject,
    body,
    host_log_id,
    status,
    attempts,
    due_at,
    next_attempt_at,
    created_by,
    dedupe_until,
    finished_at
)
SELECT
    gen_random_uuid()::text AS message_id,
    tenant_id,
    'host:' || id AS dedupe_key,
    'email' AS channel,
    recipient_address AS destination,
    subject,
    message_body AS body,
    id AS host_log_id,
    'sent' AS status,
    1 AS attempts,
    sent_at AS due_at,
    sent_at AS next_attempt_at,
    'benchmark' AS created_by,
    sent_at AS dedupe_until,
    sent_at AS finished_at
FROM "HIS_NotificationLog";
