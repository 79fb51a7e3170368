SELECT tenant_id
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s AND status <> 'success'
ORDER BY tenant_id;
