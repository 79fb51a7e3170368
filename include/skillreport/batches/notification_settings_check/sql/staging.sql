-- name: collect_mailboxes
-- Read the employees once for all tenants of the run.
INSERT INTO batch.former_mailbox (execution_id, tenant_id, addresses)
SELECT %(execution_id)s, listed.tenant_id, coalesce(former.addresses, '{}') AS addresses
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN (
    SELECT mailbox.tenant_id, array_agg(mailbox.email) AS addresses
    FROM batch.all_former_mailbox AS mailbox
    WHERE mailbox.tenant_id = any(%(tenant_ids)s)
    GROUP BY mailbox.tenant_id
) AS former ON listed.tenant_id = former.tenant_id
ON CONFLICT (execution_id, tenant_id) DO UPDATE SET addresses = excluded.addresses;

-- name: load_templates
SELECT
    id, tenant_id, template_key, notification_type,
    lower(left(language_code, 2)) AS language,
    coalesce(subject_template, '') AS subject,
    coalesce(body_template, '') AS body,
    upper(coalesce(format_type, '')) = 'HTML' AS is_html,
    upper(coalesce(format_type, '')) = 'MARKDOWN' AS is_markdown,
    sample_data
FROM batch.tenant_template
WHERE coalesce(is_active, true) AND NOT is_deleted
ORDER BY tenant_id, template_key, notification_type, language_code;

-- name: load_settings
SELECT
    tenant_id, setting_key, notification_type, trigger_event,
    nullif(btrim(template_id), '') AS template_id,
    nullif(btrim(channel_config), '') AS channel_config
FROM batch.tenant_notification_setting
WHERE coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY tenant_id, setting_key;

-- name: delete_mailboxes
DELETE FROM batch.former_mailbox
WHERE execution_id = %(execution_id)s
RETURNING tenant_id, addresses;
