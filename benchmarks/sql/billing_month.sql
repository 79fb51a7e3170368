-- name: billing_month
-- Each active tenant's 31 days of October 2026, each closed an hour after its end. No two tenants have the same figures.
INSERT INTO batch.usage_day (
    tenant_id,
    usage_date,
    registered_users,
    active_users,
    total_logins,
    api_calls,
    error_count,
    peak_concurrent_users,
    storage_bytes,
    reports_generated,
    skill_assessments,
    notifications_sent,
    closed_by,
    closed_at
)
SELECT
    tenant.tenant_id,
    day.usage_date::date,
    120 AS registered_users,
    40 + mod(abs(hashtext(tenant.tenant_id)), 80) AS active_users,
    90 AS total_logins,
    20000 + mod(abs(hashtext(tenant.tenant_id || day.usage_date)), 9000) AS api_calls,
    3 AS error_count,
    17 AS peak_concurrent_users,
    (60 + mod(abs(hashtext(tenant.tenant_id)), 40))::bigint * 1073741824 AS storage_bytes,
    12 AS reports_generated,
    4 AS skill_assessments,
    30 AS notifications_sent,
    'benchmark' AS closed_by,
    (day.usage_date + interval '25 hours') AT TIME ZONE 'Asia/Tokyo' AS closed_at
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series('2026-10-01'::timestamp, '2026-10-31'::timestamp, '1 day') AS day (usage_date);
