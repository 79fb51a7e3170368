-- User actions by user key. The user decides the tenant (people.sql).

-- The only request log; it has no tenant column. An error is a server error: a 5xx answer, or no answer and an error level. A 4xx
-- is the caller's error. A request without a user was sent before login.
CREATE OR REPLACE VIEW batch.all_api_request AS
SELECT
    nullif(btrim(user_id), '') AS person_key,
    created_at AS requested_at_utc,
    CASE WHEN response_time <= 2147483647 THEN response_time END::integer AS response_time_ms,
    coalesce(response_status >= 500, upper(log_level) IN ('ERROR', 'FATAL'), false) AS is_error
FROM "SYS_SystemLog"
WHERE request_url IS NOT null AND NOT is_deleted AND batch.is_dated(created_at);

-- Rows of the audit log, and the last edits of TRN_* rows by their editors. Only this view defines failed logins, which have
-- their own source. The audit log's flags and times are nullable.
CREATE OR REPLACE VIEW batch.all_logged_action AS
SELECT
    CASE WHEN judged.is_failed_login THEN 'HIS_AuditLog LOGIN' ELSE 'HIS_AuditLog' END AS source,
    coalesce(btrim(audited.user_id), '') AS person_key,
    audited.tenant_id AS stated_tenant_id,
    audited.created_at AS acted_at_utc,
    upper(btrim(audited.action_type)) = 'LOGIN' AND NOT judged.is_failed_login AS is_login,
    judged.is_failed_login
FROM "HIS_AuditLog" AS audited
CROSS JOIN
    LATERAL (
        SELECT
            coalesce(
                upper(btrim(audited.action_type)) = 'LOGIN'
                AND upper(btrim(audited.result_status)) IN ('FAILURE', 'FAILED', 'ERROR', 'DENIED'),
                false
            ) AS is_failed_login
    ) AS judged
WHERE audited.is_deleted IS NOT true AND batch.is_dated(audited.created_at)
UNION ALL
SELECT
    'TRN_EmployeeSkillGrade' AS source,
    btrim(updated_by) AS person_key,
    tenant_id AS stated_tenant_id,
    updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_EmployeeSkillGrade"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_GoalProgress' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_GoalProgress"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_PDU' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_PDU"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_ProjectRecord' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_ProjectRecord"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_SkillEvidence' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_SkillEvidence"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_SkillRecord' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_SkillRecord"
WHERE batch.is_dated(updated_at)
UNION ALL
SELECT
    'TRN_TrainingHistory' AS source, btrim(updated_by) AS person_key, tenant_id AS stated_tenant_id, updated_at AS acted_at_utc,
    false AS is_login, false AS is_failed_login
FROM "TRN_TrainingHistory"
WHERE batch.is_dated(updated_at);

-- User activity. Failed logins do not count.
CREATE OR REPLACE VIEW batch.all_user_action AS
SELECT source, person_key, stated_tenant_id, acted_at_utc, is_login
FROM batch.all_logged_action
WHERE NOT is_failed_login;

-- Reports ordered by users. BATCH-004's own reports are in the same table, without a user, and count as neither use nor storage.
-- A report that the application created without a user belongs to the tenant in its row.
CREATE OR REPLACE VIEW batch.all_report AS
SELECT
    CASE
        WHEN
            btrim(requested_by) <> all(array(
                SELECT person_key FROM batch.known_key
                WHERE kind = 'system'
            ))
            THEN nullif(btrim(requested_by), '')
    END AS person_key,
    tenant_id AS stated_tenant_id,
    batch.bounded(created_at) AS created_at_utc,
    batch.bounded(
        CASE WHEN upper(generation_status) = 'COMPLETED' THEN coalesce(completed_at, created_at) END
    ) AS completed_at_utc,
    coalesce(file_size, 0)::bigint AS file_bytes
FROM "HIS_ReportGeneration"
WHERE NOT is_deleted AND requested_by IS DISTINCT FROM 'BATCH-004';

CREATE OR REPLACE VIEW batch.all_skill_evidence AS
SELECT
    coalesce(btrim(employee_id), '') AS person_key,
    tenant_id AS stated_tenant_id,
    batch.bounded(created_at) AS created_at_utc,
    coalesce(file_size_kb, 0)::bigint * 1024 AS file_bytes
FROM "TRN_SkillEvidence"
WHERE NOT is_deleted;

CREATE OR REPLACE VIEW batch.all_skill_assessment AS
SELECT
    coalesce(btrim(employee_id), '') AS person_key,
    tenant_id AS stated_tenant_id,
    assessment_date AS assessed_at_utc
FROM "TRN_SkillRecord"
WHERE batch.is_dated(assessment_date) AND NOT is_deleted;

-- The recipient may be outside the row's tenant.
CREATE OR REPLACE VIEW batch.all_sent_notification AS
SELECT tenant_id AS stated_tenant_id, sent_at AS sent_at_utc
FROM "HIS_NotificationLog"
-- The batches write SUCCESS, the application SENT, in upper or lower case.
WHERE upper(send_status) IN ('SUCCESS', 'SENT') AND batch.is_dated(sent_at) AND NOT is_deleted;

-- Sources of figures that have a row. The application never writes some of these tables.
CREATE OR REPLACE VIEW batch.all_host_source AS
SELECT
    'SYS_SystemLog' AS source,
    exists(
        SELECT FROM "SYS_SystemLog"
        WHERE request_url IS NOT null
    ) AS has_rows
UNION ALL
SELECT 'HIS_AuditLog' AS source, exists(SELECT FROM "HIS_AuditLog") AS has_rows
UNION ALL
-- No other table has failed logins.
SELECT
    'HIS_AuditLog LOGIN'
        AS source, exists(
        SELECT FROM "HIS_AuditLog"
        WHERE upper(action_type) = 'LOGIN'
    ) AS has_rows
UNION ALL
SELECT
    'HIS_ReportGeneration' AS source,
    exists(
        SELECT FROM "HIS_ReportGeneration"
        WHERE requested_by IS DISTINCT FROM 'BATCH-004'
    ) AS has_rows
UNION ALL
SELECT
    'HIS_ReportGeneration file_size' AS source,
    exists(
        SELECT FROM "HIS_ReportGeneration"
        WHERE file_size IS NOT null AND requested_by IS DISTINCT FROM 'BATCH-004'
    ) AS has_rows
UNION ALL
SELECT 'TRN_SkillEvidence' AS source, exists(SELECT FROM "TRN_SkillEvidence") AS has_rows
UNION ALL
SELECT
    'TRN_SkillRecord assessment_date' AS source,
    exists(
        SELECT FROM "TRN_SkillRecord"
        WHERE assessment_date IS NOT null
    ) AS has_rows
UNION ALL
-- BATCH-018-02 itself adds the letters about invoices.
SELECT
    'HIS_NotificationLog' AS source,
    exists(
        SELECT FROM "HIS_NotificationLog"
        WHERE recipient_type IS DISTINCT FROM 'BILLING_CONTACT'
    ) AS has_rows;

GRANT SELECT ON
batch.all_api_request,
batch.all_logged_action,
batch.all_user_action,
batch.all_report,
batch.all_skill_evidence,
batch.all_skill_assessment,
batch.all_sent_notification,
batch.all_host_source
TO batch_platform;
