-- name: inactivity
SELECT
    tenant.tenant_code,
    inactivity.stage,
    inactivity.judged_on - inactivity.inactive_since AS days,
    inactivity.last_activity_on
FROM batch.tenant_inactivity AS inactivity
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE inactivity.stage <> 'none'
ORDER BY tenant.tenant_id;
