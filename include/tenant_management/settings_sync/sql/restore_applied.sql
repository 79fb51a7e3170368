INSERT INTO batch.applied_setting (tenant_id, setting_key, value, source, applied_on, applied_by)
SELECT
    restored.tenant_id,
    restored.setting_key,
    restored.applied_value,
    restored.applied_source,
    %(run_date)s,
    %(actor)s
FROM
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text,
        setting_key text,
        applied_value text,
        applied_source text
    )
WHERE restored.applied_value IS NOT null;
