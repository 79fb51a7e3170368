INSERT INTO batch.tenant_outcome (execution_id, tenant_id, part, status)
SELECT
    %(execution_id)s,
    tenant_id,
    part,
    'pending' AS status
FROM unnest(%(tenant_ids)s::text[], %(parts)s::text[]) AS expected (tenant_id, part);
