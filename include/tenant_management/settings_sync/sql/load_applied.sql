SELECT
    tenant_id,
    setting_key,
    value,
    source
FROM batch.applied_setting;
