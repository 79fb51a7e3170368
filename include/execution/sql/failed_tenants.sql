-- Who did not succeed, for people; a tenant whose work falls into parts is one tenant. Its name may be gone from the host by now;
-- its id never is.
SELECT
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, outcome.tenant_id) AS tenant_name,
    outcome.reason
FROM (
    SELECT
        tenant_id,
        string_agg(
            concat_ws(': ', nullif(part, ''), coalesce(error_message, '処理されませんでした')), '、' ORDER BY part
        ) AS reason
    FROM batch.tenant_outcome
    WHERE execution_id = %(execution_id)s AND status <> 'success'
    GROUP BY tenant_id
) AS outcome
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
ORDER BY outcome.tenant_id;
