-- name: billing_month
-- Each active tenant's 31 days of October 2026, each closed an hour after its end. No two tenants have the same figures.
INSERT INTO batch.usage_day (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, peak_concurrent_users,
    storage_bytes, reports_generated, skill_assessments, notifications_sent, closed_by, closed_at
)
SELECT
    tenant.tenant_id, day.usage_date::date, 120, 40 + mod(abs(hashtext(tenant.tenant_id)), 80), 90,
    20000 + mod(abs(hashtext(tenant.tenant_id || day.usage_date)), 9000), 3, 17,
    (60 + mod(abs(hashtext(tenant.tenant_id)), 40))::bigint * 1073741824, 12, 4, 30, 'benchmark',
    (day.usage_date + interval '25 hours') AT TIME ZONE 'Asia/Tokyo'
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series('2026-10-01'::timestamp, '2026-10-31'::timestamp, '1 day') AS day (usage_date);

-- name: issued_invoices
SELECT tenant_id, currency, total, input_hash
FROM batch.invoice
WHERE status = 'finalized'
ORDER BY tenant_id;
