DELETE FROM batch.tenant_outcome AS outcome
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[]) AS old (execution_id, tenant_id, part)
WHERE
    outcome.execution_id = old.execution_id
    AND outcome.tenant_id = old.tenant_id
    AND outcome.part = old.part;
