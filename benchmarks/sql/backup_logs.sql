-- name: grow_system_log
-- 600,000 requests of the existing accounts, about 160 MB.
INSERT INTO "SYS_SystemLog" (id, log_level, log_category, message, user_id, request_url, created_at, updated_at)
SELECT
    gen_random_uuid()::text AS id,
    'INFO' AS log_level,
    'API' AS log_category,
    'GET /api/skills ' || md5(series.number::text) AS message,
    account.user_id,
    '/api/skills/' || md5((series.number * 7)::text) AS request_url,
    timestamp '2026-10-01' + series.number * interval '1 second' AS created_at,
    timestamp '2026-10-01' AS updated_at
FROM generate_series(1, 600000) AS series (number)
INNER JOIN (
    SELECT user_id, row_number() OVER (ORDER BY user_id) - 1 AS position, count(*) OVER () AS accounts
    FROM "MST_UserAuth"
) AS account ON account.position = series.number % account.accounts;

-- name: grow_audit_log
-- 600,000 changes by the existing accounts, about 330 MB.
INSERT INTO "HIS_AuditLog" (id, user_id, action_type, target_table, old_values, new_values, tenant_id, created_at, updated_at)
SELECT
    gen_random_uuid()::text AS id,
    account.user_id,
    'UPDATE' AS action_type,
    'TRN_SkillRecord' AS target_table,
    format('{"skill_level": %s, "note": "%s"}', series.number % 5, repeat(md5(series.number::text), 4)) AS old_values,
    format('{"skill_level": %s, "note": "%s"}', series.number % 4, repeat(md5((series.number * 3)::text), 4)) AS new_values,
    account.tenant_id,
    timestamp '2026-10-01' + series.number * interval '1 second' AS created_at,
    timestamp '2026-10-01' AS updated_at
FROM generate_series(1, 600000) AS series (number)
INNER JOIN (
    SELECT user_id, tenant_id, row_number() OVER (ORDER BY user_id) - 1 AS position, count(*) OVER () AS accounts
    FROM "MST_UserAuth"
) AS account ON account.position = series.number % account.accounts;

-- name: grow_notification_log
-- 600,000 sent mails of the existing accounts, about 320 MB.
INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_address, subject, message_body, send_status, sent_at, updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    account.tenant_id,
    'EMAIL' AS notification_type,
    account.user_id || '@example.com' AS recipient_address,
    'スキル更新のお知らせ' AS subject,
    repeat('スキル評価が更新されました。', 4) || repeat(md5(series.number::text), 5) AS message_body,
    'SUCCESS' AS send_status,
    timestamp '2026-10-01' + series.number * interval '1 second' AS sent_at,
    timestamp '2026-10-01' AS updated_at
FROM generate_series(1, 600000) AS series (number)
INNER JOIN (
    SELECT user_id, tenant_id, row_number() OVER (ORDER BY user_id) - 1 AS position, count(*) OVER () AS accounts
    FROM "MST_UserAuth"
) AS account ON account.position = series.number % account.accounts;
