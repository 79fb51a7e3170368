-- name: incidents
SELECT
    tenant.tenant_code,
    incident.severity,
    to_char(incident.opened_at AT TIME ZONE 'Asia/Tokyo', 'MM-DD HH24:MI') AS opened,
    coalesce(incident.told, '未通知') AS told,
    incident.evidence
FROM batch.incident
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE incident.closed_at IS null
ORDER BY incident.severity, tenant.tenant_code, incident.check_name;
