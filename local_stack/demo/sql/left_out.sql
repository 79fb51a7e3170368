-- name: left_out
SELECT
    tenant.tenant_code,
    tenant.tenant_name,
    tenant.status
FROM batch.all_tenant AS tenant
WHERE
    NOT EXISTS (
        SELECT FROM batch.tenant_outcome AS outcome
        WHERE outcome.tenant_id = tenant.tenant_id AND outcome.execution_id = %(execution_id)s
    )
ORDER BY tenant.tenant_id;
