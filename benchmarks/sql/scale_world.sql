-- name: scale_tenants
INSERT INTO "MST_Tenant" (
    tenant_id, tenant_code, tenant_name, domain_name, subdomain, status, subscription_plan, contact_email, created_at, updated_at
)
SELECT
    'tenant-' || to_char(number, 'FM000000'), 'C' || to_char(number, 'FM000000'), '会社 ' || number,
    'c' || number || '.example.jp', 'c' || number, 'ACTIVE', (ARRAY['BASIC', 'STANDARD', 'PREMIUM'])[1 + mod(number, 3)],
    'admin@c' || number || '.example.jp', '2025-04-01', '2025-04-01'
FROM generate_series(1, %(tenants)s::integer) AS number;

-- name: scale_people
-- Person n belongs to tenant 1 + (n - 1) / users. A third has logged in on the last day.
CREATE TEMPORARY TABLE person AS
SELECT number, 'tenant-' || to_char(1 + (number - 1) / %(users)s::integer, 'FM000000') AS tenant_id
FROM generate_series(1, %(people)s::integer) AS number;

INSERT INTO "MST_Employee" (id, employee_code, full_name, email, tenant_id, employment_status, created_at, updated_at)
SELECT
    'emp-' || number, 'E' || number, '社員 ' || number, 'e' || number || '@example.jp', tenant_id, 'ACTIVE',
    '2025-04-01', '2025-04-01'
FROM person;

INSERT INTO "MST_UserAuth" (user_id, login_id, employee_id, tenant_id, last_login_at, created_at, updated_at)
SELECT
    'user-' || number, 'login-' || number, 'emp-' || number, tenant_id,
    CASE WHEN mod(number, 3) = 0 THEN %(last_day)s::timestamp + interval '3 hours' ELSE '2026-01-05'::timestamp END,
    '2025-04-01', '2025-04-01'
FROM person;

-- name: scale_possessions
-- After scale_people. People's files and skills do not grow with the days: two files and three skills each.
INSERT INTO "TRN_SkillEvidence" (id, tenant_id, employee_id, file_size_kb, created_at, updated_at, created_by, updated_by)
SELECT
    'evidence-' || number || '-' || copy, tenant_id, 'E' || number, 500 + mod(number, 500), '2025-05-01', '2025-05-01',
    'E' || number, 'E' || number
FROM person
CROSS JOIN generate_series(1, 2) AS copy;

INSERT INTO "TRN_SkillRecord" (
    id, tenant_id, employee_id, skill_item_id, skill_level, assessment_date, created_at, updated_at, created_by, updated_by
)
SELECT
    'skill-' || number || '-' || copy, tenant_id, 'E' || number, 'S' || mod(number * 3 + copy, 50), 1 + mod(number + copy, 5),
    '2025-05-01', '2025-05-01', '2025-05-01', 'E' || number, 'E' || number
FROM person
CROSS JOIN generate_series(1, 3) AS copy;

-- name: scale_day
-- The logs of one day (day_start, UTC, and the 24 hours after it) in the order of their times. With skew, every second row
-- belongs to the first tenant.
INSERT INTO "SYS_SystemLog" (
    id, user_id, session_id, ip_address, request_url, request_method, response_status, response_time, log_level, message,
    created_at, updated_at
)
SELECT
    gen_random_uuid()::text,
    'user-' || CASE
        WHEN %(skew)s::boolean AND mod(number, 2) = 0 THEN 1 + mod(number / 2, %(users)s::integer)
        ELSE 1 + mod(number::bigint * 7919, %(people)s::bigint)
    END,
    'session-' || mod(number, 1000), '192.0.2.' || mod(number, 250), '/api/skills/' || mod(number, 40), 'GET',
    CASE WHEN mod(number, 97) = 0 THEN 500 ELSE 200 END, 20 + mod(number, 300), 'INFO', 'request finished', at,
    at AS updated_at
FROM generate_series(1, %(requests)s::integer) AS number
CROSS JOIN LATERAL (
    SELECT %(day_start)s::timestamp + number * (interval '1 day' / (%(requests)s::integer + 1)) AS at
) AS logged;

INSERT INTO "HIS_AuditLog" (id, tenant_id, user_id, action_type, target_table, result_status, created_at, updated_at, is_deleted)
SELECT
    gen_random_uuid()::text, 'tenant-000001', 'user-' || 1 + mod(number::bigint * 7919, %(people)s::bigint),
    CASE WHEN mod(number, 5) = 0 THEN 'LOGIN' ELSE 'UPDATE' END, 'TRN_SkillRecord', 'SUCCESS', at,
    at AS updated_at, false
FROM generate_series(1, %(requests)s::integer / 5) AS number
CROSS JOIN LATERAL (
    SELECT %(day_start)s::timestamp + number * (interval '1 day' / (%(requests)s::integer / 5 + 1)) AS at
) AS logged;

INSERT INTO "HIS_NotificationLog" (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body, send_status, scheduled_at,
    sent_at, created_at, updated_at
)
SELECT
    gen_random_uuid()::text, 'tenant-' || to_char(1 + mod(number, %(tenants)s::integer), 'FM000000'), 'EMAIL', 'USER',
    'someone@example.jp', 'お知らせ', 'スキルの更新をお願いします。', 'SUCCESS', at, at AS sent_at,
    at AS created_at, at AS updated_at
FROM generate_series(1, %(people)s::integer / 10) AS number
CROSS JOIN LATERAL (
    SELECT %(day_start)s::timestamp + number * (interval '1 day' / (%(people)s::integer / 10 + 1)) AS at
) AS logged;

INSERT INTO "HIS_ReportGeneration" (
    id, tenant_id, requested_by, generation_status, file_size, completed_at, created_at, updated_at
)
SELECT
    gen_random_uuid()::text, 'tenant-' || to_char(1 + mod(number, %(tenants)s::integer), 'FM000000'),
    'user-' || 1 + mod(number::bigint * 31, %(people)s::bigint), 'COMPLETED', 200000, at, at AS created_at,
    at AS updated_at
FROM generate_series(1, %(people)s::integer / 60) AS number
CROSS JOIN LATERAL (
    SELECT %(day_start)s::timestamp + number * (interval '1 day' / (%(people)s::integer / 60 + 1)) AS at
) AS logged;

-- name: scale_rows_read
SELECT coalesce(sum(row_count), 0)::bigint
FROM batch.rows_scanned
WHERE execution_id = (
    SELECT execution_id FROM batch.execution_log
    ORDER BY started_at DESC
    LIMIT 1
);
