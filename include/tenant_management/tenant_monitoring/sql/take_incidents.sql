-- News of the tenants' incidents, marked as told; while a platform incident of their check is open there are none. What is over
-- before anybody heard of it is told as over, unless the platform's incident said so.
WITH due AS (
    SELECT
        tenant_id,
        check_name,
        opened_at,
        CASE
            WHEN closed_at IS NOT null THEN 'closed'
            WHEN told IS null THEN 'opened'
            WHEN told = 'closed' THEN 'reopened'
            WHEN told = 'warning' AND severity = 'critical' THEN 'worse'
            ELSE 'reminder'
        END AS what
    FROM batch.incident
    WHERE
        CASE
            WHEN closed_at IS NOT null THEN told IN ('warning', 'critical') OR (told IS null AND NOT is_part_of_platform)
            WHEN told = 'critical' OR told = severity
                THEN
                    %(is_reminding)s AND breached_at = %(check_at)s
                    AND (told_at AT TIME ZONE 'Asia/Tokyo')::date < %(today)s
            -- When the platform's incident is over, only what still breaches is worth a word.
            WHEN told IS null AND is_part_of_platform THEN breached_at = %(check_at)s
            ELSE true
        END
        AND NOT EXISTS (
            SELECT FROM batch.platform_incident AS platform
            WHERE platform.check_name = incident.check_name AND platform.closed_at IS null
        )
)

UPDATE batch.incident
SET
    told = CASE due.what WHEN 'closed' THEN 'closed' ELSE incident.severity END,
    told_at = greatest(incident.told_at, %(check_at)s)
FROM due
LEFT JOIN batch.all_tenant AS tenant ON due.tenant_id = tenant.tenant_id
WHERE
    incident.tenant_id = due.tenant_id AND incident.check_name = due.check_name
    AND incident.opened_at = due.opened_at
RETURNING
    due.what,
    incident.check_name,
    incident.severity,
    coalesce(tenant.tenant_code, incident.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name,
    incident.evidence,
    incident.opened_at,
    incident.closed_at,
    incident.closed_because IS NOT DISTINCT FROM 'recovered' AS is_recovered;
