SELECT
    tenant.tenant_code,
    tenant.tenant_name,
    plan.provider,
    plan.reason
FROM batch.sync_plan AS plan
INNER JOIN batch.all_tenant AS tenant ON plan.tenant_id = tenant.tenant_id
WHERE plan.execution_id = %(execution_id)s AND plan.status = 'held'
ORDER BY plan.tenant_id, plan.provider;
