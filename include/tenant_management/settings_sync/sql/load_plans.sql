SELECT
    tenant.tenant_id,
    tenant.subscription_plan,
    tenant.status,
    tenant.max_users,
    tenant.max_storage_gb,
    known.plan AS known_plan
FROM batch.tenant
LEFT JOIN batch.setting_plan AS known ON tenant.tenant_id = known.tenant_id;
