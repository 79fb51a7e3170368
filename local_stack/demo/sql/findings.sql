-- name: findings
SELECT
    tenant.tenant_code,
    finding.subject,
    finding.detail
FROM batch.setting_finding AS finding
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
ORDER BY tenant.tenant_id, finding.subject, finding.code;
