DELETE FROM batch.applied_setting AS known
USING
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text,
        setting_key text
    )
WHERE known.tenant_id = restored.tenant_id AND known.setting_key = restored.setting_key;
