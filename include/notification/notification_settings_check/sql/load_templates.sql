SELECT
    id,
    tenant_id,
    template_key,
    notification_type,
    lower(left(language_code, 2)) AS language,
    coalesce(subject_template, '') AS subject,
    coalesce(body_template, '') AS body,
    upper(coalesce(format_type, '')) = 'HTML' AS is_html,
    sample_data
FROM batch.tenant_template
WHERE coalesce(is_active, true) AND NOT is_deleted
ORDER BY tenant_id, template_key, notification_type, language_code;
