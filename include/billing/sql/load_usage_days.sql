SELECT
    tenant_id,
    usage_date,
    active_users,
    storage_bytes,
    api_calls,
    reports_generated,
    revision
FROM batch.usage_day
WHERE usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY tenant_id, usage_date;
