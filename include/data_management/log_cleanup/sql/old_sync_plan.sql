SELECT
    tenant_id,
    provider,
    execution_id
FROM batch.sync_plan
WHERE planned_at < %(before)s;
