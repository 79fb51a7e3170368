-- Close the day: what billing accepts. Equal figures leave the row as it is; other figures raise its revision.
INSERT INTO batch.usage_day AS closed (
    tenant_id,
    usage_date,
    registered_users,
    active_users,
    total_logins,
    api_calls,
    error_count,
    response_time_avg_ms,
    peak_concurrent_users,
    storage_bytes,
    reports_generated,
    skill_assessments,
    notifications_sent,
    closed_by
)
SELECT
    tenant_id,
    %(business_date)s AS usage_date,
    registered_users,
    active_users,
    total_logins,
    api_calls,
    error_count,
    response_time_avg_ms,
    peak_concurrent_users,
    (report_bytes + evidence_bytes)::bigint AS storage_bytes,
    reports_generated,
    skill_assessments,
    notifications_sent,
    execution_id AS closed_by
FROM batch.usage_signal
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id
ON CONFLICT (tenant_id, usage_date) DO UPDATE SET
    registered_users = excluded.registered_users,
    active_users = excluded.active_users,
    total_logins = excluded.total_logins,
    api_calls = excluded.api_calls,
    error_count = excluded.error_count,
    response_time_avg_ms = excluded.response_time_avg_ms,
    peak_concurrent_users = excluded.peak_concurrent_users,
    storage_bytes = excluded.storage_bytes,
    reports_generated = excluded.reports_generated,
    skill_assessments = excluded.skill_assessments,
    notifications_sent = excluded.notifications_sent,
    revision = closed.revision + 1,
    closed_by = excluded.closed_by,
    closed_at = now()
WHERE (
    closed.registered_users,
    closed.active_users,
    closed.total_logins,
    closed.api_calls,
    closed.error_count,
    closed.response_time_avg_ms,
    closed.peak_concurrent_users,
    closed.storage_bytes,
    closed.reports_generated,
    closed.skill_assessments,
    closed.notifications_sent
) IS DISTINCT FROM (
    excluded.registered_users,
    excluded.active_users,
    excluded.total_logins,
    excluded.api_calls,
    excluded.error_count,
    excluded.response_time_avg_ms,
    excluded.peak_concurrent_users,
    excluded.storage_bytes,
    excluded.reports_generated,
    excluded.skill_assessments,
    excluded.notifications_sent
);
