-- name: begin_tenants
-- Create the row to lock; its plan is added later.
INSERT INTO batch.setting_plan (tenant_id, recorded_by)
SELECT tenant.tenant_id, %(execution_id)s
FROM batch.tenant
WHERE
    NOT EXISTS (
        SELECT FROM batch.setting_plan AS known
        WHERE known.tenant_id = tenant.tenant_id
    )
ORDER BY tenant.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;

-- name: lock_tenants
SELECT tenant_id
FROM batch.setting_plan
ORDER BY tenant_id
FOR UPDATE;

-- name: load_plans
SELECT
    tenant.tenant_id, tenant.subscription_plan, tenant.status, tenant.max_users, tenant.max_storage_gb,
    known.plan AS known_plan
FROM batch.tenant
LEFT JOIN batch.setting_plan AS known ON tenant.tenant_id = known.tenant_id;

-- name: save_plans
UPDATE batch.setting_plan AS known
SET plan = moved.plan, since = %(run_date)s, recorded_by = %(execution_id)s
FROM jsonb_to_recordset(%(plans)s) AS moved (tenant_id text, plan text)
WHERE known.tenant_id = moved.tenant_id;
