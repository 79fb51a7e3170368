-- Who did not succeed, for people. The tenant's name may be gone from the host by now; its id never is.
SELECT
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, outcome.tenant_id) AS tenant_name,
    coalesce(outcome.error_message, '処理されませんでした') AS reason
FROM batch.tenant_outcome AS outcome
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s AND outcome.status <> 'success'
ORDER BY outcome.tenant_id;
