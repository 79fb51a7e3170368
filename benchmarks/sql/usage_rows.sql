-- name: usage_rows
SELECT
    usage_date,
    tenant_id,
    active_users,
    total_logins,
    api_requests,
    file_storage_mb,
    report_generations,
    coalesce(skill_assessments, 0) AS skill_assessments,
    notification_sent,
    peak_concurrent_users,
    peak_time,
    error_count,
    response_time_avg_ms
FROM "SYS_TenantUsage"
ORDER BY tenant_id;
