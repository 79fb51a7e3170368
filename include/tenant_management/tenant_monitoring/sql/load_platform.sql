-- Where the newest check of all tenants has left each check, and its newest incident.
SELECT
    known.check_name,
    known.checked_at,
    known.recent,
    newest.opened_at,
    newest.evidence,
    newest.breached_at,
    newest.reopened,
    newest.closed_at
FROM batch.platform_check AS known
LEFT JOIN LATERAL (
    SELECT
        incident.opened_at,
        incident.evidence,
        incident.breached_at,
        incident.reopened,
        incident.closed_at
    FROM batch.platform_incident AS incident
    WHERE incident.check_name = known.check_name
    ORDER BY incident.opened_at DESC
    LIMIT 1
) AS newest ON true;
