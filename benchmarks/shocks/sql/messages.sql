-- name: application_notifications
-- Each tenant's notifications of the application, due at the same time: every second one over Slack, the others by e-mail. No two
-- have the same destination.
INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body,
    send_status, send_attempts, scheduled_at, created_at, updated_at
)
SELECT
    tenant.tenant_id || ':' || number AS id,
    tenant.tenant_id,
    CASE mod(number, 2) WHEN 0 THEN 'SLACK' ELSE 'EMAIL' END AS notification_type,
    'USER' AS recipient_type,
    CASE mod(number, 2)
        WHEN 0 THEN 'C' || tenant.tenant_id || '-' || number
        ELSE 'p' || number || '@' || tenant.tenant_id || '.example.jp'
    END AS recipient_address,
    'お知らせ ' || number AS subject,
    'スキルの更新をお願いします。' AS message_body,
    'PENDING' AS send_status,
    0 AS send_attempts,
    %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS scheduled_at,
    %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS created_at,
    %(due_at)s::timestamptz AT TIME ZONE 'UTC' AS updated_at
FROM "MST_Tenant" AS tenant
CROSS JOIN generate_series(1, %(messages)s) AS number;

-- name: application_statuses
SELECT count(*) FROM "HIS_NotificationLog"
WHERE send_status = 'SUCCESS' AND scheduled_at = %(due_at)s::timestamptz AT TIME ZONE 'UTC';

-- name: slack_messages
-- Each tenant's messages over Slack with a status, each to a destination of its own: those of the last hour, or finished ones of
-- the last 80 days.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at,
    finished_at, error_code, error_class, error_detail, created_by
)
SELECT
    md5(tenant.tenant_id || %(status)s || number)::uuid::text AS message_id,
    tenant.tenant_id,
    %(status)s || ':' || number AS dedupe_key,
    'slack' AS channel,
    'C' || tenant.tenant_id || '-' || %(status)s || '-' || number AS destination,
    'お知らせ' AS subject,
    'スキルの更新をお願いします。' AS body,
    %(status)s,
    CASE %(status)s WHEN 'pending' THEN 0 WHEN 'sent' THEN 1 ELSE 5 END AS attempts,
    age.moment AS due_at,
    age.moment AS next_attempt_at,
    CASE WHEN %(status)s <> 'pending' THEN age.moment END AS finished_at,
    CASE WHEN %(status)s = 'dead' THEN 'internal_error' END AS error_code,
    CASE WHEN %(status)s = 'dead' THEN 'service' END AS error_class,
    CASE WHEN %(status)s = 'dead' THEN 'Slack の内部エラー' END AS error_detail,
    'shock' AS created_by
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series(1, %(messages)s) AS number
CROSS JOIN LATERAL (
    SELECT
        now() - CASE %(status)s
            WHEN 'sent' THEN interval '1 day' + mod(number, 79) * interval '1 day'
            ELSE interval '1 hour'
        END AS moment
) AS age;

-- name: message_ids
SELECT message_id FROM batch.outbox
WHERE status = %(status)s
ORDER BY message_id;

-- name: statuses
SELECT status, count(*) FROM batch.outbox
GROUP BY status;

-- name: scans_of_outbox
-- Sequential scans of the outbox since the statistics were reset.
SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables
WHERE schemaname = 'batch' AND relname = 'outbox';
