-- name: breaches
SELECT
    tenant.tenant_code,
    array_to_string(array(SELECT jsonb_array_elements_text(outcome.details -> 'breaching')), ', ') AS breaching,
    (outcome.details ->> 'apiCalls')::bigint AS api_calls,
    (outcome.details ->> 'errors')::bigint AS errors
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE outcome.execution_id = %(execution_id)s AND outcome.details -> 'breaching' <> '[]'
ORDER BY tenant.tenant_code;
