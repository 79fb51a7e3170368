SELECT
    status,
    plan_hash,
    world_hash,
    entries,
    problems,
    counts,
    reason
FROM batch.sync_plan
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s AND execution_id = %(execution_id)s
FOR UPDATE;
