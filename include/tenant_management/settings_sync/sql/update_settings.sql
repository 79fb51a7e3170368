UPDATE batch.tenant_setting AS setting
SET
    setting_value = change.new_value,
    is_deleted = false,
    last_modified_by = %(actor)s,
    updated_at = %(now)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text,
        setting_key text,
        kind text,
        old_value text,
        new_value text
    )
WHERE
    setting.tenant_id = change.tenant_id AND setting.setting_key = change.setting_key
    AND change.kind <> 'inserted'
    AND setting.is_deleted = (change.kind = 'revived')
    AND setting.setting_value IS NOT DISTINCT FROM change.old_value
RETURNING setting.tenant_id, setting.setting_key;
