-- name: notification_queue
-- Due messages of each tenant, each to a separate Slack channel.
INSERT INTO batch.outbox (
    message_id,
    tenant_id,
    dedupe_key,
    channel,
    destination,
    subject,
    body,
    due_at,
    next_attempt_at,
    created_by
)
SELECT
    tenant.tenant_id || ':' || message.number AS message_id,
    tenant.tenant_id,
    'benchmark:' || message.number AS dedupe_key,
    'slack' AS channel,
    'C' || message.number AS destination,
    'お知らせ' AS subject,
    '本文' AS body,
    now() - interval '1 hour' AS due_at,
    now() - interval '1 hour' AS next_attempt_at,
    'benchmark' AS created_by
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series(1, %(messages)s) AS message (number);
