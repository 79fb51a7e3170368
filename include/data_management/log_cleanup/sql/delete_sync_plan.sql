DELETE FROM batch.sync_plan AS plan
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[]) AS old (tenant_id, provider, execution_id)
WHERE
    plan.tenant_id = old.tenant_id
    AND plan.provider = old.provider
    AND plan.execution_id = old.execution_id
    AND plan.planned_at < %(before)s;
