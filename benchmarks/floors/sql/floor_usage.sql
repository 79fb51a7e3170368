-- name: floor_activity
-- The least work for a day's figures: the statements know which keys these data use, and the unlogged tables are written by all
-- cores (INSERT ... SELECT uses one). day_start and day_end are UTC.
CREATE UNLOGGED TABLE floor_request AS
SELECT
    user_id, count(*)::integer AS calls, (count(*) FILTER (WHERE response_status >= 500))::integer AS errors,
    sum(response_time) AS response_ms, bit_or(1 << mod(date_part('hour', created_at)::integer + 9, 24)) AS hours
FROM "SYS_SystemLog"
WHERE created_at >= %(day_start)s AND created_at < %(day_end)s AND request_url IS NOT null AND NOT is_deleted
GROUP BY user_id;

CREATE UNLOGGED TABLE floor_audit AS
SELECT
    user_id, count(*)::integer AS actions,
    (count(*) FILTER (WHERE upper(action_type) = 'LOGIN' AND upper(result_status) = 'SUCCESS'))::integer AS logins
FROM "HIS_AuditLog"
WHERE created_at >= %(day_start)s AND created_at < %(day_end)s AND is_deleted IS NOT true
GROUP BY user_id;

CREATE UNLOGGED TABLE floor_edit AS
SELECT updated_by, count(*)::integer AS actions
FROM (
    SELECT updated_by FROM "TRN_SkillEvidence"
    WHERE updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT updated_by FROM "TRN_SkillRecord"
    WHERE updated_at >= %(day_start)s AND updated_at < %(day_end)s
) AS edit
GROUP BY updated_by;

CREATE UNLOGGED TABLE floor_owned AS
SELECT
    employee.tenant_id, sum(file.report_bytes) AS report_bytes, sum(file.evidence_kb) * 1024 AS evidence_bytes,
    sum(file.reports) AS reports
FROM (
    SELECT
        account.employee_id, sum(report.file_size) FILTER (WHERE report.created_at < %(day_end)s) AS report_bytes,
        0 AS evidence_kb,
        count(*) FILTER (WHERE report.completed_at >= %(day_start)s AND report.completed_at < %(day_end)s) AS reports
    FROM "HIS_ReportGeneration" AS report
    INNER JOIN "MST_UserAuth" AS account ON report.requested_by = account.user_id
    WHERE NOT report.is_deleted
    GROUP BY account.employee_id
    UNION ALL
    SELECT
        coded.id AS employee_id, 0 AS report_bytes, sum(evidence.file_size_kb) AS evidence_kb, 0 AS reports
    FROM "TRN_SkillEvidence" AS evidence
    INNER JOIN "MST_Employee" AS coded ON evidence.employee_id = coded.employee_code
    WHERE evidence.created_at < %(day_end)s AND NOT evidence.is_deleted
    GROUP BY coded.id
) AS file
INNER JOIN "MST_Employee" AS employee ON file.employee_id = employee.id
GROUP BY employee.tenant_id;

CREATE UNLOGGED TABLE floor_tenant_day AS
WITH person AS (
    SELECT
        employee.tenant_id, employee.id, account.created_at >= %(day_start)s AS is_new, request.calls, request.errors,
        request.response_ms, request.hours, coalesce(audit.actions, 0) + coalesce(edit.actions, 0) AS actions, audit.logins,
        account.last_login_at >= %(day_start)s AND account.last_login_at < %(day_end)s AS has_logged_in
    FROM "MST_UserAuth" AS account
    INNER JOIN "MST_Employee" AS employee ON account.employee_id = employee.id
    LEFT JOIN floor_request AS request ON account.user_id = request.user_id
    LEFT JOIN floor_audit AS audit ON account.user_id = audit.user_id
    LEFT JOIN floor_edit AS edit ON employee.employee_code = edit.updated_by
    WHERE NOT account.is_deleted AND account.created_at < %(day_end)s
),

day AS (
    SELECT
        tenant_id, count(*) AS registered_users, count(*) FILTER (WHERE is_new) AS users_new,
        count(*) FILTER (WHERE calls > 0 OR actions > 0 OR has_logged_in) AS active_users,
        coalesce(sum(greatest(logins, 1)) FILTER (WHERE has_logged_in OR logins > 0), 0) AS total_logins,
        coalesce(array_agg(id ORDER BY id) FILTER (WHERE has_logged_in OR logins > 0), '{}') AS user_ids,
        coalesce(sum(calls), 0) AS api_calls, coalesce(sum(errors), 0) AS error_count,
        round(sum(response_ms) / nullif(sum(calls), 0), 3) AS response_time_avg_ms,
        sum(actions) + coalesce(sum(calls), 0) AS read_events,
        ARRAY[
            count(*) FILTER (WHERE hours & 1 <> 0), count(*) FILTER (WHERE hours & 2 <> 0),
            count(*) FILTER (WHERE hours & 4 <> 0), count(*) FILTER (WHERE hours & 8 <> 0),
            count(*) FILTER (WHERE hours & 16 <> 0), count(*) FILTER (WHERE hours & 32 <> 0),
            count(*) FILTER (WHERE hours & 64 <> 0), count(*) FILTER (WHERE hours & 128 <> 0),
            count(*) FILTER (WHERE hours & 256 <> 0), count(*) FILTER (WHERE hours & 512 <> 0),
            count(*) FILTER (WHERE hours & 1024 <> 0), count(*) FILTER (WHERE hours & 2048 <> 0),
            count(*) FILTER (WHERE hours & 4096 <> 0), count(*) FILTER (WHERE hours & 8192 <> 0),
            count(*) FILTER (WHERE hours & 16384 <> 0), count(*) FILTER (WHERE hours & 32768 <> 0),
            count(*) FILTER (WHERE hours & 65536 <> 0), count(*) FILTER (WHERE hours & 131072 <> 0),
            count(*) FILTER (WHERE hours & 262144 <> 0), count(*) FILTER (WHERE hours & 524288 <> 0),
            count(*) FILTER (WHERE hours & 1048576 <> 0), count(*) FILTER (WHERE hours & 2097152 <> 0),
            count(*) FILTER (WHERE hours & 4194304 <> 0), count(*) FILTER (WHERE hours & 8388608 <> 0)
        ] AS users_by_hour
    FROM person
    GROUP BY tenant_id
),

notification AS (
    SELECT tenant_id, count(*) AS notifications_sent
    FROM "HIS_NotificationLog"
    WHERE
        sent_at >= %(day_start)s AND sent_at < %(day_end)s AND upper(send_status) IN ('SUCCESS', 'SENT') AND NOT is_deleted
    GROUP BY tenant_id
),

assessment AS (
    SELECT employee.tenant_id, count(*) AS skill_assessments
    FROM "TRN_SkillRecord" AS record
    INNER JOIN "MST_Employee" AS employee ON record.employee_id = employee.employee_code
    WHERE record.assessment_date >= %(day_start)s AND record.assessment_date < %(day_end)s AND NOT record.is_deleted
    GROUP BY employee.tenant_id
)

SELECT
    day.*, coalesce(peak.users, 0) AS peak_concurrent_users,
    %(day_start)s::timestamp + (peak.position - 1) * interval '1 hour' AS peak_at,
    coalesce(owned.report_bytes, 0) + coalesce(owned.evidence_bytes, 0) AS storage_bytes,
    coalesce(owned.reports, 0) AS reports_generated, coalesce(assessment.skill_assessments, 0) AS skill_assessments,
    coalesce(notification.notifications_sent, 0) AS notifications_sent
FROM day
LEFT JOIN floor_owned AS owned USING (tenant_id)
LEFT JOIN notification USING (tenant_id)
LEFT JOIN assessment USING (tenant_id)
LEFT JOIN LATERAL (
    SELECT users, position
    FROM unnest(day.users_by_hour) WITH ORDINALITY AS hour (users, position)
    WHERE users > 0
    ORDER BY users DESC, position ASC
    LIMIT 1
) AS peak ON true;

-- name: floor_usage
-- After floor_activity: the application's row, the closed day and the logins of each tenant.
INSERT INTO "SYS_TenantUsage" (
    id, usage_date, tenant_id, active_users, total_logins, api_requests, file_storage_mb, report_generations,
    skill_assessments, notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms, updated_at
)
SELECT
    gen_random_uuid()::text, %(business_date)s::timestamp, tenant_id, active_users, total_logins, api_calls,
    round(storage_bytes / 1048576, 6), reports_generated, skill_assessments, notifications_sent, peak_concurrent_users,
    peak_at, error_count, response_time_avg_ms, now() AT TIME ZONE 'UTC'
FROM floor_tenant_day;

INSERT INTO batch.usage_day (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, response_time_avg_ms,
    peak_concurrent_users, storage_bytes, reports_generated, skill_assessments, notifications_sent, read_events, closed_by
)
SELECT
    tenant_id, %(business_date)s, registered_users, active_users, total_logins, api_calls, error_count,
    response_time_avg_ms, peak_concurrent_users, storage_bytes, reports_generated, skill_assessments, notifications_sent,
    read_events, 'floor'
FROM floor_tenant_day;

INSERT INTO batch.login_day (tenant_id, login_date, user_ids)
SELECT tenant_id, %(business_date)s, user_ids
FROM floor_tenant_day
WHERE user_ids <> '{}';

-- name: forget_usage
-- The day is new again. The people are known.
TRUNCATE batch.usage_day, batch.login_day, "SYS_TenantUsage";

-- name: floor_usage_rows
SELECT
    to_jsonb(day) - 'closed_by' - 'closed_at' AS day,
    to_jsonb(shown) - ARRAY['id', 'collection_timestamp', 'created_at', 'updated_at'] AS shown, login.user_ids
FROM batch.usage_day AS day
LEFT JOIN "SYS_TenantUsage" AS shown ON day.tenant_id = shown.tenant_id AND day.usage_date = shown.usage_date
LEFT JOIN batch.login_day AS login ON day.tenant_id = login.tenant_id AND day.usage_date = login.login_date
ORDER BY day.tenant_id, day.usage_date;
