INSERT INTO batch.applied_setting (tenant_id, setting_key, value, source, applied_on, applied_by)
SELECT
    setting.tenant_id,
    setting.setting_key,
    setting.value,
    setting.source,
    %(run_date)s,
    %(actor)s
FROM
    jsonb_to_recordset(%(settings)s) AS setting (
        tenant_id text,
        setting_key text,
        value text,
        source text
    )
ON CONFLICT (tenant_id, setting_key) DO UPDATE SET
    value = excluded.value,
    source = excluded.source,
    applied_on = excluded.applied_on,
    applied_by = excluded.applied_by;
