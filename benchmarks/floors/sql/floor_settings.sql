-- name: floor_settings
-- Each tenant gets the settings of its plan. `wanted` has the values of all plans. No tenant has a setting yet.
CREATE UNLOGGED TABLE floor_setting AS
SELECT tenant.tenant_id, wanted.plan, wanted.setting_key, wanted.setting_name, wanted.data_type, wanted.value
FROM "MST_Tenant" AS tenant
INNER JOIN
    jsonb_to_recordset(%(wanted)s) AS wanted (plan text, setting_key text, setting_name text, data_type text, value text)
    ON tenant.subscription_plan = wanted.plan;

INSERT INTO "MST_TenantSettings" (
    id, tenant_id, setting_category, setting_key, setting_name, data_type, setting_value, is_required, is_encrypted,
    is_system_managed, is_user_configurable, is_deleted, last_modified_by, updated_at
)
SELECT
    gen_random_uuid()::text, tenant_id, upper(split_part(setting_key, '.', 1)), setting_key, setting_name, data_type, value,
    false, false, false, false, false, 'floor', now() AT TIME ZONE 'UTC'
FROM floor_setting;

INSERT INTO batch.setting_change (tenant_id, setting_key, execution_id, kind, new_value, reason, changed_by)
SELECT tenant_id, setting_key, 'floor', 'inserted', value, 'プラン ' || plan || ' の設定がない', 'floor'
FROM floor_setting;

INSERT INTO batch.applied_setting (tenant_id, setting_key, value, source, applied_on, applied_by)
SELECT tenant_id, setting_key, value, 'plan', %(run_date)s, 'floor'
FROM floor_setting;

INSERT INTO batch.setting_plan (tenant_id, plan, since, recorded_by)
SELECT tenant_id, subscription_plan, %(run_date)s, 'floor'
FROM "MST_Tenant";

-- name: floor_settings_rows
SELECT
    setting.tenant_id, setting.setting_category, setting.setting_key, setting.setting_name, setting.data_type,
    setting.setting_value, applied.value, applied.source, applied.applied_on, change.kind, change.new_value, change.reason,
    plan.plan, plan.since
FROM "MST_TenantSettings" AS setting
INNER JOIN batch.applied_setting AS applied USING (tenant_id, setting_key)
INNER JOIN batch.setting_change AS change USING (tenant_id, setting_key)
INNER JOIN batch.setting_plan AS plan USING (tenant_id)
ORDER BY setting.tenant_id, setting.setting_key;
