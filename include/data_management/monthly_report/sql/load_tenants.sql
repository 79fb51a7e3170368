SELECT
    tenant.tenant_id,
    tenant.tenant_code,
    tenant.tenant_name,
    tenant.language,
    signal.setting_overrides
FROM batch.report_signal AS signal
INNER JOIN batch.tenant AS tenant USING (tenant_id)
WHERE signal.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id;
