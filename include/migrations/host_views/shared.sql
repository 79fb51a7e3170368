-- Views over the host's tables that are the same in both variants of the host. They are dropped and made again by every
-- upgrade (they hold no data), as batch_owner.
--
-- all_*    normalise a host table once, for every tenant; only batch_platform may read them.
-- the rest filter a host table that the batches write by the transaction's tenants; for batch_tenant.
--
-- Numbers that are only read have one type here, whatever width the host gives them; one that is too large counts as missing.
--
-- *_utc columns are the host's TIMESTAMP(3) in UTC, left bare so that a day's bounds, given in UTC, compare without a conversion
-- per row. Dates that people read are Asia/Tokyo.

CREATE VIEW batch.all_tenant AS
SELECT
    tenant_id::text AS tenant_id,
    coalesce(nullif(btrim(tenant_code), ''), tenant_id) AS tenant_code,
    coalesce(nullif(btrim(tenant_name), ''), tenant_code, tenant_id) AS tenant_name,
    -- The host spells the status in several ways; a missing one is a tenant that was created without it and is in use.
    CASE
        WHEN is_deleted OR lower(btrim(status)) = 'deleted' THEN 'DELETED'
        WHEN nullif(btrim(status), '') IS null THEN 'ACTIVE'
        WHEN upper(btrim(status)) IN ('ACTIVE', 'INACTIVE', 'SUSPENDED', 'TRIAL', 'EXPIRED') THEN upper(btrim(status))
        ELSE 'UNKNOWN'
    END AS status,
    upper(nullif(btrim(subscription_plan), '')) AS subscription_plan,
    coalesce(nullif(btrim(timezone), ''), 'Asia/Tokyo') AS timezone,
    coalesce(nullif(upper(btrim(currency_code)), ''), 'JPY') AS currency_code,
    lower(left(nullif(btrim(locale), ''), 2)) AS language,
    CASE WHEN max_users <= 2147483647 THEN max_users END::integer AS max_users,
    CASE WHEN max_storage_gb <= 2147483647 THEN max_storage_gb END::integer AS max_storage_gb,
    nullif(btrim(admin_email), '') AS admin_email,
    nullif(btrim(contact_email), '') AS contact_email,
    nullif(btrim(postal_code), '') AS postal_code,
    nullif(btrim(address), '') AS address,
    -- Days in Japan; the last day of the contract belongs to it.
    (contract_start_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS contract_start,
    (contract_end_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS contract_end,
    (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS created_on,
    (updated_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS updated_on
FROM "MST_Tenant";

-- The same for the transaction's tenants; to read only, whatever the check option says.
CREATE VIEW batch.tenant WITH (security_barrier) AS
SELECT
    tenant_id, tenant_code, tenant_name, status, subscription_plan, currency_code, language, max_users,
    max_storage_gb, admin_email, contact_email, postal_code, address, contract_start, contract_end,
    created_on, updated_on
FROM batch.all_tenant
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant TO batch_tenant;

CREATE VIEW batch.all_tenant_setting AS
SELECT
    tenant_id, setting_key, setting_value, effective_from AS effective_from_utc,
    effective_until AS effective_until_utc
FROM "MST_TenantSettings"
WHERE NOT is_deleted;

CREATE VIEW batch.tenant_setting WITH (security_barrier) AS
SELECT
    id, tenant_id, setting_category, setting_key, setting_name, data_type, setting_value, validation_rules,
    is_required, is_encrypted, is_system_managed, is_user_configurable, effective_from, effective_until,
    last_modified_by, is_deleted, updated_at
FROM "MST_TenantSettings"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

-- What a setting means is the application's: only its value is ever changed.
GRANT SELECT, INSERT, UPDATE (
    setting_value, last_modified_by, is_deleted, updated_at
) ON batch.tenant_setting TO batch_tenant;

-- The only request log. It knows no tenant: join it through the user. An error is the server's: a 5xx answer, or no answer
-- and an error level; a 4xx is the caller's.
CREATE VIEW batch.all_api_request AS
SELECT
    user_id,
    created_at AS requested_at_utc,
    CASE WHEN response_time <= 2147483647 THEN response_time END::integer AS response_time_ms,
    coalesce(response_status >= 500, upper(log_level) IN ('ERROR', 'FATAL'), false) AS is_error
FROM "SYS_SystemLog"
WHERE request_url IS NOT null AND NOT is_deleted;

-- What people did, by the user who did it. The audit log's flags and times are nullable. A login that failed is one that somebody
-- tried, whoever it was.
CREATE VIEW batch.all_user_action AS
SELECT
    user_id,
    created_at AS acted_at_utc,
    upper(action_type) = 'LOGIN'
    AND coalesce(upper(result_status), 'SUCCESS') NOT IN ('FAILURE', 'FAILED', 'ERROR', 'DENIED') AS is_login,
    coalesce(
        upper(action_type) = 'LOGIN' AND upper(result_status) IN ('FAILURE', 'FAILED', 'ERROR', 'DENIED'), false
    ) AS is_failed_login
FROM "HIS_AuditLog"
WHERE is_deleted IS NOT true AND created_at IS NOT null
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_EmployeeSkillGrade"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_GoalProgress"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_PDU"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_ProjectRecord"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_SkillEvidence"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_SkillRecord"
UNION ALL
SELECT updated_by AS user_id, updated_at AS acted_at_utc, false AS is_login, false AS is_failed_login
FROM "TRN_TrainingHistory";

-- What people had made. BATCH-004's own reports are in the same table, and nobody ordered them: they are neither use nor storage.
CREATE VIEW batch.all_report AS
SELECT
    tenant_id,
    created_at AS created_at_utc,
    CASE WHEN upper(generation_status) = 'COMPLETED' THEN coalesce(completed_at, created_at) END AS completed_at_utc,
    coalesce(file_size, 0)::bigint AS file_bytes
FROM "HIS_ReportGeneration"
WHERE NOT is_deleted AND requested_by IS DISTINCT FROM 'BATCH-004';

CREATE VIEW batch.all_skill_evidence AS
SELECT
    tenant_id,
    created_at AS created_at_utc,
    coalesce(file_size_kb, 0)::bigint * 1024 AS file_bytes
FROM "TRN_SkillEvidence"
WHERE NOT is_deleted;

CREATE VIEW batch.all_skill_assessment AS
SELECT tenant_id, assessment_date AS assessed_at_utc
FROM "TRN_SkillRecord"
WHERE assessment_date IS NOT null AND NOT is_deleted;

CREATE VIEW batch.all_sent_notification AS
SELECT tenant_id, sent_at AS sent_at_utc
FROM "HIS_NotificationLog"
-- The batches write SUCCESS, the application writes SENT; either in any case.
WHERE upper(send_status) IN ('SUCCESS', 'SENT') AND sent_at IS NOT null AND NOT is_deleted;

-- The host's usage table, shown by the application: ours to fill, one tenant at a time.
CREATE VIEW batch.tenant_usage WITH (security_barrier) AS
SELECT
    id, usage_date, tenant_id, active_users, total_logins, api_requests, file_storage_mb, report_generations,
    skill_assessments, notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms,
    collection_timestamp, is_deleted, created_at, updated_at
FROM "SYS_TenantUsage"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

-- Not the key: INSERT ... ON CONFLICT (id) DO UPDATE reaches rows that the view does not show, and the check option looks at the
-- new row only, so that setting tenant_id would take over another tenant's row.
GRANT SELECT, INSERT, UPDATE (
    active_users, total_logins, api_requests, file_storage_mb, report_generations, skill_assessments,
    notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms,
    collection_timestamp, is_deleted, updated_at
) ON batch.tenant_usage TO batch_tenant;

-- The application's invoices: one row per invoice of ours, under its id. Nobody but the application says that one is paid.
CREATE VIEW batch.tenant_billing WITH (security_barrier) AS
SELECT
    id, tenant_id, billing_period_start, billing_period_end, billing_type, plan_id, plan_name, base_amount,
    usage_amount, additional_amount, discount_amount, subtotal_amount, tax_rate, tax_amount, total_amount,
    currency_code, usage_details, billing_status, invoice_number, invoice_date, due_date, notes, is_deleted,
    created_at, updated_at
FROM "HIS_TenantBilling"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, UPDATE (
    plan_id, plan_name, base_amount, usage_amount, additional_amount, discount_amount, subtotal_amount,
    tax_rate, tax_amount, total_amount, currency_code, usage_details, billing_status, invoice_number,
    invoice_date, due_date, notes, updated_at
) ON batch.tenant_billing TO batch_tenant;

-- The application's notifications: the batches add their own, send what waits, and write down what became of it.
CREATE VIEW batch.tenant_notification WITH (security_barrier) AS
SELECT
    id, tenant_id, notification_id, setting_id, template_id, notification_type, recipient_type,
    recipient_address, subject, message_body, message_format, send_status, send_attempts, max_retry_count,
    scheduled_at, sent_at, delivered_at, opened_at, response_code, response_message, error_details,
    integration_config_id, priority_level, is_deleted, created_at, updated_at
FROM "HIS_NotificationLog"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, DELETE, UPDATE (
    send_status, send_attempts, sent_at, response_code, error_details, is_deleted, updated_at
) ON batch.tenant_notification TO batch_tenant;

-- Notifications that nothing happens to any more: sent, given up, or withdrawn by the application.
CREATE VIEW batch.all_finished_notification AS
SELECT
    id,
    tenant_id,
    coalesce(sent_at, updated_at, created_at) AS finished_at_utc
FROM "HIS_NotificationLog"
WHERE
    tenant_id IS NOT null
    AND (
        is_deleted OR upper(btrim(send_status)) IN (
            'SUCCESS', 'SENT', 'DELIVERED', 'OPENED', 'FAILED', 'BOUNCED', 'EXPIRED', 'CANCELLED', 'CANCELED', 'SKIPPED'
        )
    );

-- What waits to be sent. The type is the channel, spelled in several ways; an unknown one is nobody's.
CREATE VIEW batch.all_waiting_notification AS
SELECT
    id,
    tenant_id,
    CASE regexp_replace(upper(notification_type), '[^A-Z]', '', 'g')
        WHEN 'EMAIL' THEN 'email'
        WHEN 'MAIL' THEN 'email'
        WHEN 'SLACK' THEN 'slack'
        WHEN 'TEAMS' THEN 'teams'
        WHEN 'MSTEAMS' THEN 'teams'
        WHEN 'MICROSOFTTEAMS' THEN 'teams'
        WHEN 'LINEWORKS' THEN 'line_works'
        WHEN 'LINE' THEN 'line_works'
    END AS channel,
    coalesce(btrim(recipient_address), '') AS destination,
    coalesce(btrim(subject), '') AS subject,
    coalesce(message_body, '') AS body,
    upper(btrim(coalesce(message_format, ''))) = 'HTML' AS is_html,
    CASE upper(btrim(priority_level)) WHEN 'HIGH' THEN 1 WHEN 'URGENT' THEN 1 WHEN 'LOW' THEN 3 ELSE 2 END AS priority,
    scheduled_at AS scheduled_at_utc
FROM "HIS_NotificationLog"
WHERE upper(btrim(send_status)) = 'PENDING' AND scheduled_at IS NOT null AND tenant_id IS NOT null AND NOT is_deleted;

-- Who has left. The host spells it in several ways; whoever has no status is there.
CREATE VIEW batch.all_employment AS
SELECT
    employee_id, tenant_id, employee_code, full_name, email,
    NOT is_deleted
    AND coalesce(upper(btrim(employment_status)), '') NOT IN ('RETIRED', 'RESIGNED', 'TERMINATED', 'LEFT', '退職')
    AND coalesce(upper(btrim(employee_status)), '') NOT IN ('RETIRED', 'RESIGNED', 'TERMINATED', 'LEFT', '退職') AS is_employed,
    department_code,
    job_type_id
FROM batch.all_employee;

-- Employees under each key by which other rows name them: the id, and the code, which is unique within the tenant.
CREATE VIEW batch.all_employee_key AS
SELECT employee.employee_id, named.employee_key, employee.full_name, employee.email, employee.tenant_id
FROM batch.all_employment AS employee
CROSS JOIN LATERAL (VALUES (employee.employee_id), (employee.employee_code)) AS named (employee_key)
WHERE employee.is_employed;

-- The mailboxes of those who have left, unless somebody who is there has the same one.
CREATE VIEW batch.all_former_mailbox AS
SELECT
    tenant_id,
    lower(email) AS email
FROM batch.all_employment
WHERE email IS NOT null
GROUP BY tenant_id, lower(email)
HAVING NOT bool_or(is_employed);

-- Certificates with an end, by the employee who holds them. The employee is named by id or by code.
CREATE VIEW batch.all_expiring_certificate AS
SELECT
    record.id AS record_id,
    record.tenant_id, employee.employee_id, employee.full_name, employee.email,
    coalesce(certificate.certification_name, record.certification_id) AS certificate_name,
    (record.expiry_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS expires_on
FROM "TRN_SkillRecord" AS record
INNER JOIN batch.all_employee_key AS employee
    ON record.tenant_id = employee.tenant_id AND record.employee_id = employee.employee_key
LEFT JOIN "MST_Certification" AS certificate ON record.certification_id = certificate.certification_code
WHERE record.certification_id IS NOT null AND record.expiry_date IS NOT null AND NOT record.is_deleted;

-- Goals that are still open, with the day by which they were to be reached.
CREATE VIEW batch.all_open_goal AS
SELECT
    goal.id AS goal_id,
    goal.tenant_id, employee.employee_id, employee.full_name, employee.email,
    coalesce(nullif(btrim(goal.goal_title), ''), goal.goal_id, goal.id) AS goal_title,
    (goal.target_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS due_on
FROM "TRN_GoalProgress" AS goal
INNER JOIN batch.all_employee_key AS employee
    ON goal.tenant_id = employee.tenant_id AND goal.employee_id = employee.employee_key
WHERE
    goal.target_date IS NOT null AND goal.completion_date IS null AND NOT goal.is_deleted
    AND coalesce(upper(btrim(goal.achievement_status)), '') NOT IN ('ACHIEVED', 'COMPLETED', 'CANCELLED', 'CANCELED');

-- How a tenant is reached: credentials are JSON in text, and secret.
CREATE VIEW batch.tenant_integration WITH (security_barrier) AS
SELECT
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config,
    CASE WHEN rate_limit_per_minute <= 2147483647 THEN rate_limit_per_minute END::integer AS rate_limit_per_minute,
    is_enabled, health_status, last_health_check, is_deleted, updated_at
FROM "SYS_IntegrationConfig"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (health_status, last_health_check, is_enabled) ON batch.tenant_integration TO batch_tenant;

CREATE VIEW batch.tenant_template WITH (security_barrier) AS
SELECT
    id, tenant_id, template_key, notification_type, language_code, subject_template, body_template,
    format_type, sample_data, is_active, is_deleted
FROM "MST_NotificationTemplate"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_template TO batch_tenant;

-- Which events are told to whom, over which channel.
CREATE VIEW batch.tenant_notification_setting WITH (security_barrier) AS
SELECT
    id, tenant_id, setting_key, notification_type, target_audience, trigger_event, template_id,
    channel_config, is_enabled, is_deleted, updated_at
FROM "MST_NotificationSettings"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (is_enabled, updated_at) ON batch.tenant_notification_setting TO batch_tenant;

-- Which services the tenants use; their credentials are in tenant_integration only.
CREATE VIEW batch.all_integration AS
SELECT tenant_id, integration_key, integration_type
FROM "SYS_IntegrationConfig"
WHERE coalesce(is_enabled, true) AND NOT is_deleted;

-- The transaction's tenants' people, those who have left included; to read only, whatever the check option says.
CREATE VIEW batch.tenant_employee WITH (security_barrier) AS
SELECT employee_id, tenant_id, employee_code, email, is_employed
FROM batch.all_employment
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_employee TO batch_tenant;

-- How well people know what: one row per record, by the key that names its employee. Levels begin at 1; the record's own category
-- goes before that of its skill.
CREATE VIEW batch.all_skill_record AS
SELECT
    record.tenant_id,
    record.employee_id AS employee_key,
    record.skill_item_id,
    CASE WHEN record.skill_level BETWEEN 1 AND 2147483647 THEN record.skill_level END::integer AS skill_level,
    coalesce(
        nullif(btrim(record.skill_category_id), ''),
        nullif(btrim(item.skill_category_id), ''),
        nullif(btrim(skill.category_id), '')
    ) AS category_code,
    record.created_at AS created_at_utc
FROM "TRN_SkillRecord" AS record
LEFT JOIN "MST_SkillItem" AS item ON record.skill_item_id = item.skill_code
LEFT JOIN "MST_Skill" AS skill ON record.skill_item_id = skill.id
WHERE record.skill_item_id IS NOT null AND NOT record.is_deleted;

CREATE VIEW batch.all_skill_category AS
SELECT
    category_code,
    nullif(btrim(category_name), '') AS category_name
FROM "MST_SkillCategory";

-- Which job types people have: the one in their own row, and those that they are assigned to.
CREATE VIEW batch.all_employee_job_type AS
SELECT
    tenant_id,
    employee_id AS employee_key,
    job_type_id,
    null::timestamp AS effective_from_utc,
    null::timestamp AS effective_until_utc
FROM batch.all_employment
WHERE is_employed AND job_type_id IS NOT null
UNION ALL
SELECT
    employee.tenant_id, employee.employee_id AS employee_key, assignment.job_type_id,
    assignment.effective_start_date AS effective_from_utc,
    assignment.effective_end_date AS effective_until_utc
FROM "MST_EmployeeJobType" AS assignment
INNER JOIN (
    SELECT
        employee_id AS named_by,
        employee_id,
        tenant_id,
        is_employed
    FROM batch.all_employment
    UNION ALL
    -- An assignment has no tenant of its own: a code that several tenants use could be anybody's.
    SELECT
        coded.employee_code AS named_by,
        min(coded.employee_id) AS employee_id,
        min(coded.tenant_id) AS tenant_id,
        bool_and(coded.is_employed) AS is_employed
    FROM batch.all_employment AS coded
    WHERE
        NOT EXISTS (
            SELECT FROM batch.all_employment AS other
            WHERE other.employee_id = coded.employee_code
        )
    GROUP BY coded.employee_code
    HAVING count(*) = 1
) AS employee ON assignment.employee_id = employee.named_by
WHERE
    employee.is_employed AND assignment.job_type_id IS NOT null AND NOT assignment.is_deleted
    AND coalesce(upper(btrim(assignment.assignment_status)), 'ACTIVE') = 'ACTIVE';

-- What a job type requires, and how well.
CREATE VIEW batch.all_required_skill AS
SELECT
    job_type_id,
    skill_item_id,
    CASE WHEN required_level <= 2147483647 THEN required_level END::integer AS required_level,
    effective_date AS effective_from_utc,
    expiry_date AS effective_until_utc
FROM "MST_JobTypeSkill"
WHERE required_level > 0 AND NOT is_deleted AND coalesce(upper(btrim(skill_status)), 'ACTIVE') = 'ACTIVE';

CREATE VIEW batch.all_goal AS
SELECT
    tenant_id,
    employee_id AS employee_key,
    CASE
        WHEN upper(btrim(achievement_status)) IN ('ACHIEVED', 'COMPLETED') THEN 'completed'
        WHEN upper(btrim(achievement_status)) = 'IN_PROGRESS' THEN 'in_progress'
        WHEN coalesce(upper(btrim(achievement_status)), '') IN ('', 'NOT_STARTED') THEN 'not_started'
        ELSE 'other'
    END AS status,
    created_at AS created_at_utc
FROM "TRN_GoalProgress"
WHERE NOT is_deleted;

-- Certificates that people hold or held; one without an end never expires.
CREATE VIEW batch.all_certificate AS
SELECT
    tenant_id,
    employee_id AS employee_key,
    CASE
        WHEN isfinite(expiry_date) THEN (expiry_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date
    END AS expires_on,
    created_at AS created_at_utc
FROM "TRN_SkillRecord"
WHERE certification_id IS NOT null AND NOT is_deleted;

-- Trainings that are over and that people took part in.
CREATE VIEW batch.all_completed_training AS
SELECT
    tenant_id,
    employee_id AS employee_key,
    coalesce(end_date, start_date) AS ended_at_utc,
    coalesce(duration_hours, 0)::numeric AS duration_hours
FROM "TRN_TrainingHistory"
WHERE
    coalesce(end_date, start_date) IS NOT null AND NOT is_deleted
    AND coalesce(upper(btrim(attendance_status)), '') NOT IN ('ABSENT', 'CANCELLED', 'CANCELED', 'PLANNED', 'REGISTERED', '欠席');

-- The application's reports: the batches add the monthly ones, under ids of their own.
CREATE VIEW batch.tenant_report WITH (security_barrier) AS
SELECT
    id, tenant_id, requested_by, report_title, report_category, output_format, generation_status, parameters,
    file_path, file_size, requested_at, started_at, completed_at, error_message, created_at, updated_at,
    is_deleted
FROM "HIS_ReportGeneration"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, UPDATE (
    report_title, generation_status, file_path, file_size, completed_at, error_message, updated_at, is_deleted
) ON batch.tenant_report TO batch_tenant;

-- What the application shows of the backups.
CREATE VIEW batch.all_backup_history AS
SELECT
    id, backup_id, backup_type, backup_scope, target_objects, backup_start_time, backup_end_time,
    backup_status, backup_file_path, backup_file_size, compression_type, encryption_enabled, checksum,
    backup_trigger, executed_by, error_message, recovery_tested, recovery_test_date, is_deleted, updated_at
FROM "SYS_BackupHistory";

GRANT SELECT, INSERT, UPDATE ON batch.all_backup_history TO batch_platform;

-- Rows that grow old and are deleted: they are found by their age, and deleted by their key.
CREATE VIEW batch.all_system_log AS
SELECT id, created_at AS created_at_utc
FROM "SYS_SystemLog";

CREATE VIEW batch.all_token AS
SELECT id, expires_at AS expires_at_utc
FROM "SYS_TokenStore";

GRANT SELECT, DELETE ON batch.all_system_log, batch.all_token TO batch_platform;

GRANT SELECT ON
batch.all_tenant,
batch.all_tenant_setting,
batch.all_api_request,
batch.all_user_action,
batch.all_report,
batch.all_skill_evidence,
batch.all_skill_assessment,
batch.all_sent_notification,
batch.all_user,
batch.all_waiting_notification,
batch.all_finished_notification,
batch.all_employee,
batch.all_employment,
batch.all_integration,
batch.all_employee_key,
batch.all_former_mailbox,
batch.all_expiring_certificate,
batch.all_open_goal,
batch.all_department,
batch.all_skill_record,
batch.all_skill_category,
batch.all_employee_job_type,
batch.all_required_skill,
batch.all_goal,
batch.all_certificate,
batch.all_completed_training
TO batch_platform;
