-- name: failures
SELECT
    tenant.tenant_code,
    outcome.error_message
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE outcome.execution_id = %(execution_id)s AND outcome.status = 'failed'
ORDER BY tenant.tenant_id;
