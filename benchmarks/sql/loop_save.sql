-- name: loop_save
-- saveTenantUsage
INSERT INTO "SYS_TenantUsage" (
    id,
    usage_date,
    tenant_id,
    updated_at,
    active_users,
    total_logins,
    api_requests,
    file_storage_mb,
    report_generations,
    skill_assessments,
    notification_sent,
    peak_concurrent_users,
    peak_time,
    error_count,
    response_time_avg_ms
)
VALUES (
    gen_random_uuid()::text,
    %(day)s::timestamp,
    %(tenant_id)s,
    now(),
    %(active_users)s,
    %(total_logins)s,
    %(api_requests)s,
    %(file_storage_mb)s,
    %(report_generations)s,
    %(skill_assessments)s,
    %(notification_sent)s,
    %(peak_concurrent_users)s,
    %(peak_time)s,
    %(error_count)s,
    %(response_time_avg_ms)s
)
ON CONFLICT (usage_date, tenant_id) DO UPDATE SET
    updated_at = excluded.updated_at,
    active_users = excluded.active_users,
    total_logins = excluded.total_logins,
    api_requests = excluded.api_requests,
    file_storage_mb = excluded.file_storage_mb,
    report_generations = excluded.report_generations,
    skill_assessments = excluded.skill_assessments,
    notification_sent = excluded.notification_sent,
    peak_concurrent_users = excluded.peak_concurrent_users,
    peak_time = excluded.peak_time,
    error_count = excluded.error_count,
    response_time_avg_ms = excluded.response_time_avg_ms;
