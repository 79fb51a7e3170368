-- name: tenant_ids
SELECT tenant_id FROM batch.all_tenant
ORDER BY tenant_id;

-- name: stable_columns
-- The columns of each table whose values do not depend on when, how often and by which run a row was written.
SELECT listed.table_schema, listed.table_name, array_agg(listed.column_name::text ORDER BY listed.ordinal_position) AS columns
FROM information_schema.columns AS listed
INNER JOIN information_schema.tables AS kept USING (table_schema, table_name)
WHERE
    listed.table_schema IN ('batch', 'public') AND kept.table_type = 'BASE TABLE'
    AND listed.table_name <> all(%(about_runs)s)
    AND listed.data_type NOT LIKE 'timestamp%%' AND listed.data_type NOT IN ('json', 'jsonb')
    AND listed.column_name !~ '(^id|execution_id|_by|_run|_seconds|attempts|lease_owner|backup_id|change_id|version)$'
    AND listed.column_name !~ '(invoice_id|notification_id|host_log_id|message_id|dedupe_key)$'
    -- Files have times in them, and a tenant that is delayed gets a later number.
    AND listed.column_name !~ '(location|path|sha256|checksum|^bytes|size_bytes|file_size|file_name|object_key|hash|number)$'
GROUP BY listed.table_schema, listed.table_name
ORDER BY listed.table_schema, listed.table_name;

-- name: closed_days
-- Closed days of a month for each tenant.
INSERT INTO batch.usage_day (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, peak_concurrent_users,
    storage_bytes, reports_generated, skill_assessments, notifications_sent, closed_by
)
SELECT
    tenant.tenant_id, day.usage_date::date, 120, 40, 90,
    20000 + mod(abs(hashtext(tenant.tenant_id || day.usage_date)), 9000), 3, 17, 64424509440, 12, 4, 30, 'shock'
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series(%(first)s::date, %(last)s::date, '1 day') AS day (usage_date);

-- name: invoices_of_months
-- The invoices, and the pairs of tenant and month that have one, without those that were taken back.
SELECT sum(invoices)::integer AS invoices, count(*)::integer AS months
FROM (
    SELECT count(*) AS invoices FROM batch.invoice
    WHERE status <> 'void' AND kind = 'invoice'
    GROUP BY tenant_id, period_start
) AS month_of_tenant;

-- name: move_services
-- Make the tenants' services lead to another address.
UPDATE "SYS_IntegrationConfig" SET connection_config = %(config)s;
