-- Whoever has added the setting meanwhile keeps it.
INSERT INTO batch.tenant_setting (
    id,
    tenant_id,
    setting_category,
    setting_key,
    setting_name,
    data_type,
    setting_value,
    is_required,
    is_encrypted,
    is_system_managed,
    is_user_configurable,
    last_modified_by,
    is_deleted,
    updated_at
)
SELECT
    change.setting_id,
    change.tenant_id,
    change.setting_category,
    change.setting_key,
    change.setting_name,
    change.data_type,
    change.new_value,
    false AS is_required,
    false AS is_encrypted,
    false AS is_system_managed,
    false AS is_user_configurable,
    %(actor)s,
    false AS is_deleted,
    %(now)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text,
        setting_key text,
        kind text,
        setting_id text,
        setting_category text,
        setting_name text,
        data_type text,
        new_value text
    )
WHERE change.kind = 'inserted'
ORDER BY change.tenant_id, change.setting_key
ON CONFLICT (tenant_id, setting_key) DO NOTHING
RETURNING tenant_id, setting_key;
