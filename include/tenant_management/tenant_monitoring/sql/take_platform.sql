-- News of platform incidents, marked as told.
WITH due AS (
    SELECT
        check_name,
        opened_at,
        CASE
            WHEN closed_at IS NOT null THEN 'closed'
            WHEN told IS null THEN 'opened'
            WHEN told = 'closed' THEN 'reopened'
            ELSE 'reminder'
        END AS what
    FROM batch.platform_incident
    WHERE
        CASE
            WHEN closed_at IS NOT null THEN told IS DISTINCT FROM 'closed'
            WHEN told = 'critical'
                THEN
                    %(is_reminding)s AND breached_at = %(check_at)s
                    AND (told_at AT TIME ZONE 'Asia/Tokyo')::date < %(today)s
            ELSE true
        END
)

UPDATE batch.platform_incident AS incident
SET
    told = CASE due.what WHEN 'closed' THEN 'closed' ELSE 'critical' END,
    told_at = greatest(incident.told_at, %(check_at)s)
FROM due
WHERE incident.check_name = due.check_name AND incident.opened_at = due.opened_at
RETURNING
    due.what,
    incident.check_name,
    incident.evidence,
    incident.opened_at,
    incident.closed_at;
