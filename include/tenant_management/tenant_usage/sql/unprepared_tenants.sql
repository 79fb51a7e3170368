SELECT tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
EXCEPT
SELECT tenant_id
FROM batch.usage_signal
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id;
