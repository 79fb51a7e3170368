-- name: notification_facts
-- The generator's notifications all count as sent. The notifications that wait are inserted below.
UPDATE "HIS_NotificationLog"
SET send_status = 'SUCCESS', sent_at = scheduled_at
WHERE send_status = 'PENDING';

-- The channels of the tenants. BATCH-019-05 must find their problems.
INSERT INTO "SYS_IntegrationConfig" (
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config, is_enabled, updated_at
)
VALUES
(
    'int_1', 'default-tenant', 'slack', 'CHAT', null,
    '{"bot_token": "xoxb-demo"}', jsonb_build_object('base_url', %(services)s || 'api/')::text, true, '2026-10-01'
),
(
    'int_2', 'default-tenant', 'microsoft-teams', 'CHAT', %(teams_webhook_url)s,
    '{"tenant_id": "demo-entra", "client_id": "demo-app", "client_secret": "demo-secret"}',
    jsonb_build_object('graph_auth_url', %(services)s::text, 'graph_base_url', %(services)s || 'graph/v1.0/')::text,
    true, '2026-10-01'
),
(
    'int_3', 'default-tenant', 'line-works', 'CHAT', null,
    jsonb_build_object(
        'client_id', 'demo-client', 'client_secret', 'demo-secret',
        'service_account', 'bot@demo', 'private_key', %(private_key)s::text
    )::text,
    jsonb_build_object(
        'bot_id', '1001', 'auth_url', %(services)s || 'oauth2/v2.0/token', 'base_url', %(services)s || 'v1.0/'
    )::text, true, '2026-10-01'
),
(
    'int_4', 'tenant_1735689600000', 'slack', 'CHAT', null,
    '{"bot_token": "xoxb-demo-mfg"}', jsonb_build_object('base_url', %(services)s || 'api/')::text, true, '2026-10-01'
),
-- The token was revoked.
(
    'int_5', 'tenant_1704067200000', 'Slack', 'CHAT', null,
    '{"bot_token": "revoked-demo"}', jsonb_build_object('base_url', %(services)s || 'api/')::text, true, '2026-10-01'
),
-- An Office 365 connector, which Microsoft has retired.
(
    'int_6', 'TENANT001', 'teams', 'CHAT', 'https://demo.webhook.office.com/webhookb2/retired',
    null, null, true, '2026-10-01'
),
-- The bot was suspended.
(
    'int_7', 'TENANT002', 'lineWorks', 'CHAT', null,
    jsonb_build_object(
        'client_id', 'demo-client-ymz', 'client_secret', 'demo-secret',
        'service_account', 'bot@demo', 'private_key', %(private_key)s::text
    )::text,
    jsonb_build_object(
        'bot_id', 'bot-suspended', 'auth_url', %(services)s || 'oauth2/v2.0/token', 'base_url', %(services)s || 'v1.0/'
    )::text, true, '2026-10-01'
),
-- A tenant has entered an address of the internal network.
(
    'int_8', 'TENANT005', 'teams', 'CHAT', 'https://169.254.169.254/latest/meta-data?sig=x',
    null, null, true, '2026-10-01'
),
-- A required value is missing.
(
    'int_9', 'tenant_1751328000000', 'slack', 'CHAT', null, '{"token": ', null, true, '2026-10-01'
);

INSERT INTO "MST_NotificationTemplate" (
    id, tenant_id, template_key, notification_type, language_code, subject_template, body_template, format_type,
    sample_data, is_active, updated_at
)
VALUES
(
    'tpl_1', 'default-tenant', 'certificate_expiry', 'EMAIL', 'ja',
    '【資格】{{certificate_name}} の期限は {{expires_on}} です',
    '<p>{{full_name}} さん</p><p>「{{certificate_name}}」の期限まであと <b>{{days_left}} 日</b>です。人事部へ連絡してください。</p>', 'HTML',
    '{"full_name": "髙橋 﨑子", "certificate_name": "基本情報技術者", "expires_on": "2026/12/01", "days_left": 30}', true, '2026-10-01'
),
-- An unknown variable, a loop, and sample data that are no JSON.
(
    'tpl_2', 'TENANT005', 'goal_due', 'EMAIL', 'ja', '目標 {{goal_titel}}', '{{full_name}} 様', 'TEXT',
    '{"full_name": "山田", "goal_title": "資格を取得する"}', true, '2026-10-01'
),
(
    'tpl_3', 'TENANT005', 'monthly', 'SLACK', 'ja', '月報', '{%% for n in range(1000000000) %%}x{%% endfor %%}', 'TEXT',
    '{}', true, '2026-10-01'
),
(
    'tpl_4', 'TENANT002', 'monthly', 'EMAIL', 'ja', '月報', '{{full_name}} 様', 'TEXT', '{"full_name": ', true, '2026-10-01'
);

INSERT INTO "MST_NotificationSettings" (
    id, tenant_id, setting_key, notification_type, trigger_event, template_id, channel_config, is_enabled, updated_at
)
VALUES
(
    'set_1', 'default-tenant', 'monthly_slack', 'SLACK', 'REPORT_READY', null, '{"channel": "C0GENERAL"}', true, '2026-10-01'
),
-- An archived channel, a missing template, a channel without settings, an invalid address, and two settings of one kind.
(
    'set_2', 'tenant_1735689600000', 'monthly_slack', 'SLACK', 'REPORT_READY', 'tpl_gone', '{"channel": "C0ARCHIVED"}', true,
    '2026-10-01'
),
('set_3', 'TENANT001', 'goals_line', 'LINE_WORKS', 'GOAL_DUE', null, '{"destination": "users/u1"}', true, '2026-10-01'),
(
    'set_4', 'tenant_1751328000000', 'reports_1', 'EMAIL', 'REPORT_READY', null,
    '{"recipients": ["not an address", "contact@ohara.example"]}', true, '2026-10-01'
),
(
    'set_5', 'tenant_1751328000000', 'reports_2', 'EMAIL', 'REPORT_READY', null,
    '{"recipients": ["contact@ohara.example"]}', true, '2026-10-01'
);

INSERT INTO "MST_TenantSettings" (id, tenant_id, setting_key, setting_value, updated_at)
VALUES
('tset_n1', 'tenant_1735689600000', 'batch.notification.quiet_hours', '22:00-06:30', '2026-10-01'),
('tset_n2', 'tenant_1751328000000', 'batch.notification.quiet_hours', '25:00-7', '2026-10-01');

UPDATE "MST_Tenant"
SET locale = 'en-US'
WHERE tenant_id = 'tenant_1751328000000';

-- An employee who has left is still a recipient of the reports.
UPDATE "MST_Employee"
SET employment_status = 'RETIRED'
WHERE id = 'emp_00000_00003';

INSERT INTO "MST_NotificationSettings" (
    id, tenant_id, setting_key, notification_type, trigger_event, channel_config, is_enabled, updated_at
)
SELECT
    'set_6' AS id,
    'default-tenant' AS tenant_id,
    'monthly_mail' AS setting_key,
    'EMAIL' AS notification_type,
    'REPORT_READY' AS trigger_event,
    jsonb_build_object('recipients', jsonb_build_array(email))::text AS channel_config,
    true AS is_enabled,
    '2026-10-01' AS updated_at
FROM "MST_Employee"
WHERE id = 'emp_00000_00003';

-- Due on the morning of 1 November in Japan.
INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body, send_status, send_attempts,
    scheduled_at, priority_level, created_at, updated_at
)
SELECT
    'demo_' || planned.id AS id,
    planned.tenant_id,
    planned.channel,
    'USER' AS recipient_type,
    planned.address,
    planned.subject,
    planned.body,
    'PENDING' AS send_status,
    0 AS send_attempts,
    '2026-10-31 23:30'::timestamp AS scheduled_at,
    planned.priority,
    '2026-10-31 09:00'::timestamp AS created_at,
    '2026-10-31 09:00'::timestamp AS updated_at
FROM (
    VALUES
    (1, 'default-tenant', 'EMAIL', 'member1@hd.takahashizaki.example', '評価シートの提出', '今月の評価シートを提出してください。', 'HIGH'),
    (2, 'default-tenant', 'EMAIL', 'retired@hd.takahashizaki.example', '評価シートの提出', '今月の評価シートを提出してください。', 'MEDIUM'),
    (3, 'default-tenant', 'EMAIL', 'full@hd.takahashizaki.example', '評価シートの提出', '今月の評価シートを提出してください。', 'MEDIUM'),
    (4, 'default-tenant', 'SLACK', 'C0GENERAL', '研修の受付', '<!channel> 11 月の研修の受付を始めました。', 'MEDIUM'),
    (5, 'default-tenant', 'SLACK', 'C0UNSURE', '研修の受付', '11 月の研修の受付を始めました。', 'LOW'),
    (6, 'default-tenant', 'TEAMS', '', '研修の受付', '11 月の研修の受付を始めました。', 'MEDIUM'),
    (7, 'default-tenant', 'line-works', 'users/u0001', '研修の受付', '11 月の研修の受付を始めました。', 'MEDIUM'),
    (8, 'tenant_1735689600000', 'SLACK', 'C0FACTORY', '安全点検', '月初の安全点検をお願いします。', 'HIGH'),
    (9, 'tenant_1704067200000', 'SLACK', 'C0DESIGN', '週報', '週報を提出してください。', 'MEDIUM'),
    (10, 'tenant_1704067200000', 'EMAIL', 'member1@design.takahashizaki.example', '週報', '週報を提出してください。', 'MEDIUM'),
    (11, 'TENANT001', 'TEAMS', '', '週報', '週報を提出してください。', 'MEDIUM'),
    (12, 'TENANT005', 'TEAMS', '', '理事会', '理事会の資料を公開しました。', 'MEDIUM'),
    (13, 'default-tenant', 'EMAIL', 'moved@hd.takahashizaki.example', '評価シートの提出', '今月の評価シートを提出してください。', 'MEDIUM')
) AS planned (id, tenant_id, channel, address, subject, body, priority);

-- Certificates and goals with a reminder. The dates are stored as forms store them: midnight in UTC.
INSERT INTO "TRN_PDU" (
    id, pdu_id, tenant_id, employee_id, activity_type, activity_name, expiry_date, approval_status, updated_at, created_by,
    updated_by
)
SELECT
    planned.id,
    planned.id AS pdu_id,
    'default' AS tenant_id,
    holder.employee_code AS employee_id,
    'certification' AS activity_type,
    planned.activity_name,
    planned.expiry_date,
    'approved' AS approval_status,
    '2026-10-01'::timestamp AS updated_at,
    holder.employee_code AS created_by,
    holder.employee_code AS updated_by
FROM (
    VALUES
    ('cert_1', 'emp_00000_00000', '基本情報技術者', '2026-12-01'::timestamp),
    ('cert_2', 'emp_00000_00001', '情報処理安全確保支援士', '2026-11-08'),
    ('cert_3', 'emp_00002_00000', '情報処理安全確保支援士', '2026-11-02'),
    ('cert_4', 'emp_00002_00001', '基本情報技術者', '2027-11-02')
) AS planned (id, holder_id, activity_name, expiry_date)
INNER JOIN "MST_Employee" AS holder ON planned.holder_id = holder.id;

UPDATE "TRN_GoalProgress"
SET target_date = '2026-11-08'
WHERE
    id IN ('goal_00000_00005', 'goal_00003_00005', 'goal_00010_00005')
    AND lower(achievement_status) NOT IN ('completed', 'cancelled', 'postponed');

-- Old enough for BATCH-019-04.
INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body, send_status, send_attempts,
    scheduled_at, sent_at, created_at, updated_at
)
SELECT
    'old_' || tenant.tenant_id || '_' || number AS id,
    tenant.tenant_id,
    'EMAIL' AS notification_type,
    'USER' AS recipient_type,
    'member1@example.jp' AS recipient_address,
    'スキル更新のお知らせ' AS subject,
    'スキル情報をご確認ください。' AS message_body,
    'SUCCESS' AS send_status,
    1 AS send_attempts,
    sent.moment AS scheduled_at,
    sent.moment AS sent_at,
    sent.moment AS created_at,
    sent.moment AS updated_at
FROM (VALUES ('default-tenant', 1500), ('TENANT002', 200)) AS tenant (tenant_id, messages)
CROSS JOIN LATERAL generate_series(1, tenant.messages) AS number
CROSS JOIN LATERAL (SELECT '2026-04-01'::timestamp + mod(number, 100) * interval '1 day' AS moment) AS sent;
