-- The tenants' own settings at a moment, as include/notification/sql/load_preferences.sql reads them for one shard.
SELECT
    tenant_id,
    jsonb_object_agg(substr(setting_key, length('batch.notification.') + 1), setting_value) AS overrides
FROM batch.all_tenant_setting
WHERE
    tenant_id = any(%(tenant_ids)s) AND setting_value IS NOT null AND starts_with(setting_key, 'batch.notification.')
    AND coalesce(effective_from_utc <= %(now)s, true)
    AND coalesce(effective_until_utc > %(now)s, true)
GROUP BY tenant_id;
