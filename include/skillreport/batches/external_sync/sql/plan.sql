-- name: save_plan
WITH former AS (
    DELETE FROM batch.sync_plan
    WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s AND planned_at < now() - interval '90 days'
)

INSERT INTO batch.sync_plan (
    tenant_id, provider, execution_id, status, plan_hash, world_hash, entries, problems, counts, reason
)
VALUES (
    %(tenant_id)s,
    %(provider)s,
    %(execution_id)s,
    %(status)s,
    %(plan_hash)s,
    %(world_hash)s,
    %(entries)s,
    %(problems)s,
    %(counts)s,
    %(reason)s
)
ON CONFLICT (tenant_id, provider, execution_id) DO UPDATE SET
    status = excluded.status, plan_hash = excluded.plan_hash, world_hash = excluded.world_hash,
    entries = excluded.entries, problems = excluded.problems, counts = excluded.counts,
    reason = excluded.reason,
    planned_at = now();

-- name: load_plan
SELECT status, plan_hash, world_hash, entries, problems, counts, reason
FROM batch.sync_plan
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s AND execution_id = %(execution_id)s
FOR UPDATE;

-- name: end_plan
UPDATE batch.sync_plan
SET status = 'applied'
WHERE
    tenant_id = %(tenant_id)s AND provider = %(provider)s AND execution_id = %(execution_id)s AND status = 'planned';

-- name: held_plans
SELECT tenant.tenant_code, tenant.tenant_name, plan.provider, plan.reason
FROM batch.sync_plan AS plan
INNER JOIN batch.all_tenant AS tenant ON plan.tenant_id = tenant.tenant_id
WHERE plan.execution_id = %(execution_id)s AND plan.status = 'held'
ORDER BY plan.tenant_id, plan.provider;
