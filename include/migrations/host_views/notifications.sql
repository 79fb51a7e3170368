-- The application's notifications: the batches add their own, send what waits, and write down what became of it.
CREATE VIEW batch.tenant_notification WITH (security_barrier) AS
SELECT
    id, tenant_id, notification_id, setting_id, template_id, notification_type, recipient_type,
    recipient_address, subject, message_body, message_format, send_status, send_attempts, max_retry_count,
    scheduled_at, sent_at, delivered_at, opened_at, response_code, response_message, error_details,
    integration_config_id, priority_level, is_deleted, created_at, updated_at
FROM "HIS_NotificationLog"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, DELETE, UPDATE (
    send_status, send_attempts, sent_at, response_code, error_details, is_deleted, updated_at
) ON batch.tenant_notification TO batch_tenant;

-- Notifications that nothing happens to any more: sent, given up, or withdrawn by the application.
CREATE VIEW batch.all_finished_notification AS
SELECT
    id,
    tenant_id,
    coalesce(sent_at, updated_at, created_at) AS finished_at_utc
FROM "HIS_NotificationLog"
WHERE
    tenant_id IS NOT null
    AND (
        is_deleted OR upper(btrim(send_status)) IN (
            'SUCCESS', 'SENT', 'DELIVERED', 'OPENED', 'FAILED', 'BOUNCED', 'EXPIRED', 'CANCELLED', 'CANCELED', 'SKIPPED'
        )
    );

-- What waits to be sent. The type is the channel, spelled in several ways; an unknown one is nobody's.
CREATE VIEW batch.all_waiting_notification AS
SELECT
    id,
    tenant_id,
    CASE regexp_replace(upper(notification_type), '[^A-Z]', '', 'g')
        WHEN 'EMAIL' THEN 'email'
        WHEN 'MAIL' THEN 'email'
        WHEN 'SLACK' THEN 'slack'
        WHEN 'TEAMS' THEN 'teams'
        WHEN 'MSTEAMS' THEN 'teams'
        WHEN 'MICROSOFTTEAMS' THEN 'teams'
        WHEN 'LINEWORKS' THEN 'line_works'
        WHEN 'LINE' THEN 'line_works'
    END AS channel,
    coalesce(btrim(recipient_address), '') AS destination,
    coalesce(btrim(subject), '') AS subject,
    coalesce(message_body, '') AS body,
    upper(btrim(coalesce(message_format, ''))) = 'HTML' AS is_html,
    CASE upper(btrim(priority_level)) WHEN 'HIGH' THEN 1 WHEN 'URGENT' THEN 1 WHEN 'LOW' THEN 3 ELSE 2 END AS priority,
    scheduled_at AS scheduled_at_utc
FROM "HIS_NotificationLog"
WHERE upper(btrim(send_status)) = 'PENDING' AND scheduled_at IS NOT null AND tenant_id IS NOT null AND NOT is_deleted;

-- How a tenant is reached: credentials are JSON in text, and secret.
CREATE VIEW batch.tenant_integration WITH (security_barrier) AS
SELECT
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config,
    CASE WHEN rate_limit_per_minute <= 2147483647 THEN rate_limit_per_minute END::integer AS rate_limit_per_minute,
    is_enabled, health_status, last_health_check, is_deleted, updated_at
FROM "SYS_IntegrationConfig"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (health_status, last_health_check, is_enabled) ON batch.tenant_integration TO batch_tenant;

-- Which services the tenants use; their credentials are in tenant_integration only.
CREATE VIEW batch.all_integration AS
SELECT tenant_id, integration_key, integration_type
FROM "SYS_IntegrationConfig"
WHERE coalesce(is_enabled, true) AND NOT is_deleted;

CREATE VIEW batch.tenant_template WITH (security_barrier) AS
SELECT
    id, tenant_id, template_key, notification_type, language_code, subject_template, body_template,
    format_type, sample_data, is_active, is_deleted
FROM "MST_NotificationTemplate"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_template TO batch_tenant;

-- Which events are told to whom, over which channel.
CREATE VIEW batch.tenant_notification_setting WITH (security_barrier) AS
SELECT
    id, tenant_id, setting_key, notification_type, target_audience, trigger_event, template_id,
    channel_config, is_enabled, is_deleted, updated_at
FROM "MST_NotificationSettings"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (is_enabled, updated_at) ON batch.tenant_notification_setting TO batch_tenant;

GRANT SELECT ON
batch.all_finished_notification,
batch.all_waiting_notification,
batch.all_integration
TO batch_platform;
