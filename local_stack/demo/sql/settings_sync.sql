-- name: settings_sync
SELECT
    tenant.tenant_code,
    tenant.subscription_plan,
    outcome.details -> 'planned' AS planned,
    outcome.details -> 'reported' AS reported,
    outcome.details -> 'critical' AS critical,
    outcome.details -> 'high' AS high
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE outcome.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id;
