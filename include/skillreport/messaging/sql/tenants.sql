-- name: load_administrators
-- The recipient of a tenant's own notices: its administrator, otherwise its contact.
SELECT tenant_id, coalesce(admin_email, contact_email) AS email, tenant_name
FROM batch.tenant;

-- name: load_preferences
SELECT
    tenant.tenant_id,
    tenant.language,
    tenant.timezone,
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

-- name: load_integrations
SELECT
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config,
    rate_limit_per_minute
FROM batch.tenant_integration
WHERE coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY tenant_id, updated_at, id;

-- name: load_setting_webhooks
-- Webhooks in settings, in the form of load_integrations. The one with precedence comes last.
SELECT
    null AS id,
    notification.tenant_id,
    notification.notification_type AS integration_key,
    null AS integration_type,
    null AS endpoint_url,
    notification.channel_config AS auth_config,
    null AS connection_config,
    null::integer AS rate_limit_per_minute,
    1 AS precedence,
    batch.bounded(notification.updated_at) AS updated_at
FROM batch.tenant_notification_setting AS notification
WHERE
    coalesce(notification.is_enabled, true) AND NOT notification.is_deleted
    AND strpos(notification.channel_config, 'webhook_url') > 0
UNION ALL
SELECT
    null AS id,
    setting.tenant_id,
    setting.setting_key AS integration_key,
    null AS integration_type,
    coalesce(nullif(btrim(setting.setting_value), ''), setting.default_value) AS endpoint_url,
    null AS auth_config,
    null AS connection_config,
    null::integer AS rate_limit_per_minute,
    2 AS precedence,
    batch.bounded(setting.updated_at) AS updated_at
FROM batch.tenant_setting AS setting
WHERE
    setting.setting_category = 'NOTIFICATION' AND setting.setting_key = 'TEAMS_WEBHOOK_URL' AND NOT setting.is_deleted
    AND coalesce(setting.effective_from <= now() AT TIME ZONE 'UTC', true)
    AND coalesce(setting.effective_until > now() AT TIME ZONE 'UTC', true)
ORDER BY tenant_id, precedence, updated_at;

-- name: load_templates
-- The host spells the language in several ways.
SELECT
    tenant_id,
    template_key,
    notification_type,
    lower(left(language_code, 2)) AS language,
    coalesce(subject_template, '') AS subject,
    coalesce(body_template, '') AS body,
    upper(coalesce(format_type, '')) = 'HTML' AS is_html,
    upper(coalesce(format_type, '')) = 'MARKDOWN' AS is_markdown
FROM batch.tenant_template
WHERE
    template_key = any(%(template_keys)s) AND coalesce(is_active, true) AND NOT is_deleted;

-- name: load_switches
-- The tenants' switches for whole channels, such as EMAIL_ENABLED, that are off.
SELECT tenant_id, setting_key
FROM batch.tenant_setting
WHERE
    upper(btrim(setting_category)) = 'NOTIFICATION' AND NOT is_deleted
    AND lower(btrim(coalesce(nullif(btrim(setting_value), ''), default_value))) IN ('false', 'off', 'no', '0')
    AND coalesce(effective_from <= %(now)s, true)
    AND coalesce(effective_until > %(now)s, true)
ORDER BY tenant_id, setting_key;

-- name: inactive_tenants
SELECT tenant_id
FROM batch.tenant
WHERE status <> all(%(active)s);

-- name: load_notification_settings
-- Includes disabled settings, because they stop a reminder.
SELECT
    tenant_id, setting_key, notification_type, trigger_event,
    channel_config,
    coalesce(is_enabled, true) AS is_enabled
FROM batch.tenant_notification_setting
WHERE NOT is_deleted
ORDER BY tenant_id, setting_key;
