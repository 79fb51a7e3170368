SELECT
    tenant.tenant_id,
    tenant.language,
    (
        SELECT
            jsonb_object_agg(
                substr(setting.setting_key, length('batch.notification.') + 1), setting.setting_value
            )
        FROM batch.tenant_setting AS setting
        WHERE
            setting.tenant_id = tenant.tenant_id AND NOT setting.is_deleted AND setting.setting_value IS NOT null
            AND starts_with(setting.setting_key, 'batch.notification.')
            AND coalesce(setting.effective_from <= %(now)s, true)
            AND coalesce(setting.effective_until > %(now)s, true)
    ) AS overrides
FROM batch.tenant;
