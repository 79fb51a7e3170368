-- name: application_notifications
-- Each tenant's notifications of the application, due at the same time: every second one over Slack, the others by e-mail. No two
-- have the same destination.
INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body,
    send_status, send_attempts, scheduled_at, created_at, updated_at
)
SELECT
    tenant.tenant_id || ':' || number AS id, tenant.tenant_id,
    CASE mod(number, 2) WHEN 0 THEN 'SLACK' ELSE 'EMAIL' END AS notification_type,
    'USER' AS recipient_type,
    CASE mod(number, 2)
        WHEN 0 THEN 'C' || tenant.tenant_id || '-' || number
        ELSE 'p' || number || '@' || tenant.tenant_id || '.example.jp'
    END AS recipient_address, 'お知らせ ' || number AS subject, 'スキルの更新をお願いします。' AS message_body, 'PENDING' AS send_status,
    0 AS send_attempts, %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS scheduled_at,
    %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS created_at, %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS updated_at
FROM "MST_Tenant" AS tenant
CROSS JOIN generate_series(1, %(messages)s) AS number;

-- name: application_statuses
SELECT count(*) FROM "HIS_NotificationLog"
WHERE send_status = 'SUCCESS' AND scheduled_at = %(due_at)s::timestamptz AT TIME ZONE 'UTC';

-- name: message_ids
SELECT message_id FROM batch.outbox
WHERE status = %(status)s
ORDER BY message_id;

-- name: statuses
SELECT status, count(*) FROM batch.outbox
GROUP BY status;
