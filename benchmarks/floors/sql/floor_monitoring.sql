-- name: floor_monitoring
-- The hour that was measured last and the hour after it: the counts by key for the daily batches, the measures and the state of
-- each tenant, and the tenants that breach a limit (none). hour_start and hour_end are UTC.
CREATE UNLOGGED TABLE floor_hour AS
SELECT
    'SYS_SystemLog' AS source, user_id AS person_key, null AS stated_tenant_id, date_trunc('hour', created_at) AS hour_utc,
    count(*) AS row_count, count(*) AS calls, count(*) FILTER (WHERE response_status >= 500) AS errors,
    count(response_time) AS responses, sum(response_time) AS response_ms, null::bigint AS logins, max(created_at) AS last_at_utc
FROM "SYS_SystemLog"
WHERE created_at >= %(hour_start)s AND created_at < %(hour_end)s AND request_url IS NOT null AND NOT is_deleted
GROUP BY user_id, hour_utc
UNION ALL
SELECT
    'HIS_AuditLog' AS source, user_id AS person_key, tenant_id AS stated_tenant_id, date_trunc('hour', created_at) AS hour_utc,
    count(*) AS row_count, 0 AS calls, 0 AS errors, 0 AS responses, null AS response_ms,
    nullif(count(*) FILTER (WHERE upper(action_type) = 'LOGIN'), 0) AS logins, max(created_at) AS last_at_utc
FROM "HIS_AuditLog"
WHERE created_at >= %(hour_start)s AND created_at < %(hour_end)s AND is_deleted IS NOT true
GROUP BY user_id, tenant_id, hour_utc
UNION ALL
SELECT
    source, updated_by AS person_key, tenant_id AS stated_tenant_id, date_trunc('hour', updated_at) AS hour_utc,
    count(*) AS row_count, 0 AS calls, 0 AS errors, 0 AS responses, null AS response_ms, null AS logins,
    max(updated_at) AS last_at_utc
FROM (
    SELECT 'TRN_SkillEvidence' AS source, updated_by, tenant_id, updated_at FROM "TRN_SkillEvidence"
    UNION ALL
    SELECT 'TRN_SkillRecord' AS source, updated_by, tenant_id, updated_at FROM "TRN_SkillRecord"
) AS edit
WHERE updated_at >= %(hour_start)s AND updated_at < %(hour_end)s
GROUP BY source, updated_by, tenant_id, hour_utc;

DELETE FROM batch.activity_hour
WHERE hour_at >= %(hour_start)s::timestamp AT TIME ZONE 'UTC' AND hour_at < %(hour_end)s::timestamp AT TIME ZONE 'UTC';

INSERT INTO batch.activity_hour (
    hour_at, source, person_key, stated_tenant_id, row_count, calls, errors, timed_calls, response_ms, logins,
    last_at_utc
)
SELECT
    hour_utc AT TIME ZONE 'UTC', source, person_key, stated_tenant_id, row_count, calls, errors, responses, response_ms, logins,
    last_at_utc
FROM floor_hour;

CREATE UNLOGGED TABLE floor_figure AS
WITH used AS (
    SELECT
        account.tenant_id, hour.hour_utc, sum(hour.calls) AS api_calls, sum(hour.errors) AS errors,
        sum(hour.responses) AS responses, coalesce(sum(hour.response_ms), 0) AS response_ms, max(hour.last_at_utc) AS last_at_utc
    FROM floor_hour AS hour
    INNER JOIN "MST_UserAuth" AS account ON hour.person_key = account.user_id
    GROUP BY account.tenant_id, hour.hour_utc
),

stored AS (
    SELECT tenant_id, sum(file_bytes) AS storage_bytes
    FROM (
        SELECT employee.tenant_id, evidence.file_size_kb::bigint * 1024 AS file_bytes
        FROM "TRN_SkillEvidence" AS evidence
        INNER JOIN "MST_Employee" AS employee ON evidence.employee_id = employee.employee_code
        WHERE evidence.created_at < %(hour_end)s AND NOT evidence.is_deleted
        UNION ALL
        SELECT account.tenant_id, report.file_size AS file_bytes
        FROM "HIS_ReportGeneration" AS report
        INNER JOIN "MST_UserAuth" AS account ON report.requested_by = account.user_id
        WHERE report.created_at < %(hour_end)s AND NOT report.is_deleted
    ) AS file
    GROUP BY tenant_id
),

login AS (
    SELECT tenant_id, max(last_login_at) AS last_at_utc
    FROM "MST_UserAuth"
    WHERE last_login_at < %(hour_end)s AND NOT is_deleted
    GROUP BY tenant_id
)

SELECT
    tenant.tenant_id, hour.hour_utc, coalesce(used.api_calls, 0) AS api_calls, coalesce(used.errors, 0) AS errors,
    coalesce(used.responses, 0) AS responses, coalesce(used.response_ms, 0) AS response_ms,
    greatest(used.last_at_utc, login.last_at_utc) AS last_at_utc, stored.storage_bytes
FROM "MST_Tenant" AS tenant
CROSS JOIN
    generate_series(
        %(hour_start)s::timestamp, %(hour_end)s::timestamp - interval '1 hour', interval '1 hour'
    ) AS hour (hour_utc)
LEFT JOIN used ON tenant.tenant_id = used.tenant_id AND hour.hour_utc = used.hour_utc
LEFT JOIN stored ON tenant.tenant_id = stored.tenant_id
LEFT JOIN login ON tenant.tenant_id = login.tenant_id;

INSERT INTO batch.hourly_measure AS kept (tenant_id, hour_at, api_calls, errors, responses, response_ms, failed_logins)
SELECT tenant_id, hour_utc AT TIME ZONE 'UTC', api_calls, errors, responses, response_ms, 0
FROM floor_figure
ON CONFLICT (tenant_id, hour_at) DO UPDATE SET
    api_calls = excluded.api_calls, errors = excluded.errors, responses = excluded.responses,
    response_ms = excluded.response_ms, failed_logins = excluded.failed_logins
WHERE (kept.api_calls, kept.errors, kept.responses, kept.response_ms, kept.failed_logins) IS DISTINCT FROM (
    excluded.api_calls, excluded.errors, excluded.responses, excluded.response_ms, excluded.failed_logins
);

UPDATE batch.monitored_tenant AS known
SET
    checked_at = %(hour_end)s::timestamp AT TIME ZONE 'UTC',
    last_activity_at = greatest(known.last_activity_at, figure.last_at_utc AT TIME ZONE 'UTC')
FROM (
    SELECT tenant_id, max(last_at_utc) AS last_at_utc
    FROM floor_figure
    GROUP BY tenant_id
) AS figure
WHERE known.tenant_id = figure.tenant_id;

INSERT INTO batch.incident (tenant_id, check_name, opened_at, severity, evidence, breached_at, opened_by)
SELECT
    tenant_id, 'error_rate', hour_utc AT TIME ZONE 'UTC', 'warning', '', hour_utc AT TIME ZONE 'UTC', 'floor'
FROM floor_figure
WHERE api_calls > 100 AND (errors * 10 > api_calls OR response_ms > 10000 * responses OR storage_bytes > 1e11);

-- name: floor_monitoring_rows
SELECT 'measure' AS part, to_jsonb(measure) AS row
FROM batch.hourly_measure AS measure
UNION ALL
SELECT 'tenant' AS part, to_jsonb(tenant) AS row
FROM batch.monitored_tenant AS tenant
UNION ALL
SELECT 'hour' AS part, to_jsonb(hour) AS row
FROM batch.activity_hour AS hour
UNION ALL
SELECT 'incident' AS part, to_jsonb(incident) AS row
FROM batch.incident
ORDER BY part, row;
