-- name: restored
SELECT
    tenant.tenant_code,
    (outcome.details ->> 'restored')::integer AS restored,
    (outcome.details ->> 'changed')::integer AS changed,
    (outcome.details ->> 'missing')::integer AS missing,
    (outcome.details ->> 'new')::integer AS new,
    (outcome.details ->> 'merged')::integer AS merged
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE outcome.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id;
