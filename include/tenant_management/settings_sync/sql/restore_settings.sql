UPDATE batch.tenant_setting AS setting
SET
    setting_value = restored.setting_value,
    is_deleted = restored.is_deleted,
    last_modified_by = restored.last_modified_by,
    updated_at = %(now)s
FROM
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text,
        setting_key text,
        setting_value text,
        is_deleted boolean,
        last_modified_by text
    )
WHERE setting.tenant_id = restored.tenant_id AND setting.setting_key = restored.setting_key;
