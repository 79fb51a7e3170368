-- Reminders go out by e-mail; the type and the language are spelled in several ways.
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
