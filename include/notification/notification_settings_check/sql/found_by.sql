SELECT
    subject,
    detail
FROM batch.setting_finding
WHERE tenant_id = %(tenant_id)s AND found_by = %(execution_id)s
ORDER BY subject, code;
