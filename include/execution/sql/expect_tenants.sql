INSERT INTO batch.tenant_outcome (execution_id, tenant_id, status)
SELECT
    %(execution_id)s,
    tenant_id,
    'pending' AS status
FROM unnest(%(tenant_ids)s::text[]) AS expected (tenant_id);
