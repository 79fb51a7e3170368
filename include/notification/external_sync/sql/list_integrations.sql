SELECT
    tenant_id,
    integration_key,
    integration_type
FROM batch.all_integration
WHERE tenant_id = any(%(tenant_ids)s)
ORDER BY tenant_id;
