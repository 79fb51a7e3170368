-- name: last_closed_month
SELECT max(month) FROM batch.accounting_month;

-- name: find_marked
-- The keys of the rows to delete, of all tenants in one pass. The tenant is null if the owner is no tenant of the application.
SELECT tenant.tenant_id, tenant.tenant_code, marked.row_id
FROM batch.all_marked_row AS marked
LEFT JOIN batch.all_tenant AS tenant ON marked.owner_id = tenant.tenant_id
WHERE marked.table_name = %(table_name)s AND marked.updated_at < %(before)s
ORDER BY tenant.tenant_id, marked.row_id;

-- name: count_marked
SELECT
    count(tenant.tenant_id) AS owned,
    count(*) - count(tenant.tenant_id) AS ownerless
FROM batch.all_marked_row AS marked
LEFT JOIN batch.all_tenant AS tenant ON marked.owner_id = tenant.tenant_id
WHERE marked.table_name = %(table_name)s AND marked.updated_at < %(before)s;

-- name: record_archive
-- Acts as batch_cleanup, once for each transaction that deletes rows of the archive.
INSERT INTO batch.deleted_row_archive (tenant_id, archive, business_date, manifest_sha256)
VALUES (%(tenant_id)s, %(archive)s, %(business_date)s, %(manifest_sha256)s)
ON CONFLICT DO NOTHING;

-- name: forget_archives
DELETE FROM batch.deleted_row_archive
WHERE business_date < %(archived_since)s;
