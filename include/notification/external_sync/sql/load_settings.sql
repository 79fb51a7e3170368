SELECT
    id,
    setting_key,
    notification_type,
    channel_config
FROM batch.tenant_notification_setting
WHERE tenant_id = %(tenant_id)s AND coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY id COLLATE "C";
