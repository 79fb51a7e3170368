SELECT
    tenant_id,
    tenant_code,
    tenant_name,
    status
FROM batch.all_tenant
ORDER BY tenant_id;
