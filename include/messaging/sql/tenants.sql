-- name: load_administrators
-- The recipient of a tenant's own notices: its administrator, or else its contact.
SELECT tenant_id, coalesce(admin_email, contact_email) AS email, tenant_name
FROM batch.tenant;

-- name: load_preferences
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

-- name: load_integrations
SELECT
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config,
    rate_limit_per_minute
FROM batch.tenant_integration
WHERE coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY tenant_id, updated_at, id;

-- name: load_templates
-- Reminders are sent by e-mail. The host spells the type and the language in several ways.
SELECT
    tenant_id,
    template_key,
    lower(left(language_code, 2)) AS language,
    coalesce(subject_template, '') AS subject,
    coalesce(body_template, '') AS body,
    upper(coalesce(format_type, '')) = 'HTML' AS is_html
FROM batch.tenant_template
WHERE
    template_key = any(%(template_keys)s) AND regexp_replace(upper(notification_type), '[^A-Z]', '', 'g') IN ('EMAIL', 'MAIL')
    AND coalesce(is_active, true) AND NOT is_deleted;
