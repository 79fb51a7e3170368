-- The newest incident of each check that is open, or was closed so lately that it may be back.
SELECT DISTINCT ON (incident.tenant_id, incident.check_name)
    incident.tenant_id,
    incident.check_name,
    incident.opened_at,
    incident.severity,
    incident.evidence,
    incident.breached_at,
    incident.reopened,
    incident.closed_at
FROM batch.monitoring_signal AS signal
INNER JOIN batch.incident ON signal.tenant_id = incident.tenant_id
WHERE
    signal.execution_id = %(execution_id)s
    AND (incident.closed_at IS null OR incident.closed_at >= %(closed_since)s)
ORDER BY incident.tenant_id ASC, incident.check_name ASC, incident.opened_at DESC;
