SELECT
    tenant_id,
    setting_key,
    notification_type,
    trigger_event,
    nullif(btrim(template_id), '') AS template_id,
    nullif(btrim(channel_config), '') AS channel_config
FROM batch.tenant_notification_setting
WHERE coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY tenant_id, setting_key;
