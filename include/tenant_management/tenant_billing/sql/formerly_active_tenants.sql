-- Runs across tenants, as batch_platform. Tenants that are not active any more and owe something for the month all the same:
-- their contract or plan ended in it or later, or they used the product in it.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL')
    AND (
        (tenant.contract_end >= %(period_start)s AND coalesce(tenant.contract_start, tenant.created_on) <= %(period_end)s)
        OR EXISTS (
            SELECT FROM batch.plan_change AS change
            WHERE change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(period_start)s
        )
        OR EXISTS (
            SELECT FROM batch.usage_day AS day
            WHERE day.tenant_id = tenant.tenant_id AND day.usage_date BETWEEN %(period_start)s AND %(period_end)s
        )
    )
ORDER BY tenant.tenant_id;
