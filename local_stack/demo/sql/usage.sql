-- name: usage
SELECT
    tenant.tenant_code,
    tenant.tenant_name,
    tenant.status,
    usage.active_users,
    day.registered_users,
    usage.total_logins,
    usage.api_requests,
    usage.error_count,
    round(usage.response_time_avg_ms),
    usage.peak_concurrent_users,
    to_char(usage.peak_time AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo', 'HH24:MI'),
    round(usage.file_storage_mb, 1),
    usage.report_generations,
    day.revision
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
LEFT JOIN "SYS_TenantUsage" AS usage ON tenant.tenant_id = usage.tenant_id AND usage.usage_date = %(date)s
LEFT JOIN batch.usage_day AS day ON tenant.tenant_id = day.tenant_id AND day.usage_date = %(date)s
WHERE outcome.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id;
