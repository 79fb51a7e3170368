-- Runs across tenants, as batch_platform: whatever the tenant's status. A code that somebody has goes before an id.
SELECT tenant_id
FROM batch.all_tenant
WHERE %(code)s IN (tenant_code, tenant_id)
ORDER BY tenant_code = %(code)s DESC, tenant_id
LIMIT 1;
