-- name: leave_tenants
-- Tenants that are no longer monitored: close their incidents, and delete measures older than any baseline.
WITH departed AS (
    SELECT known.tenant_id
    FROM batch.monitored_tenant AS known
    LEFT JOIN batch.all_tenant AS tenant ON known.tenant_id = tenant.tenant_id
    WHERE coalesce(tenant.status <> all(%(active_statuses)s::text[]), true)
),

forgotten AS (
    DELETE FROM batch.hourly_measure AS measure
    USING departed
    WHERE measure.tenant_id = departed.tenant_id AND measure.hour_at < %(kept_from)s
)

UPDATE batch.incident
SET closed_at = %(check_at)s, closed_because = 'not_monitored'
FROM departed
WHERE incident.tenant_id = departed.tenant_id AND incident.closed_at IS null AND incident.opened_at <= %(check_at)s;

-- name: load_platform
-- The state of each platform check after the last run over all tenants, and its newest incident.
SELECT
    known.check_name, known.checked_at, known.recent, newest.opened_at, newest.evidence, newest.breached_at,
    newest.reopened, newest.closed_at
FROM batch.platform_check AS known
LEFT JOIN LATERAL (
    SELECT
        incident.opened_at, incident.evidence, incident.breached_at, incident.reopened, incident.closed_at
    FROM batch.platform_incident AS incident
    WHERE incident.check_name = known.check_name
    ORDER BY incident.opened_at DESC
    LIMIT 1
) AS newest ON true;

-- name: count_breaches
-- Per check of the run's outcomes: the numbers of judged tenants, of breaching ones, and of those with an open incident.
WITH judged AS (
    SELECT
        outcome.tenant_id,
        judged_check.check_name,
        outcome.details -> 'breaching' ? judged_check.check_name AS is_breach,
        outcome.details -> 'open' ? judged_check.check_name AS is_open
    FROM batch.tenant_outcome AS outcome
    CROSS JOIN LATERAL jsonb_array_elements_text(outcome.details -> 'judged') AS judged_check (check_name)
    WHERE
        outcome.execution_id = %(execution_id)s AND outcome.status = 'success'
        AND judged_check.check_name = any(%(checks)s::text[])
),

placed AS (
    SELECT
        judged.*,
        coalesce(tenant.tenant_code, judged.tenant_id) AS tenant_code,
        row_number() OVER (PARTITION BY judged.check_name, judged.is_breach ORDER BY judged.tenant_id) AS place
    FROM judged
    LEFT JOIN batch.all_tenant AS tenant USING (tenant_id)
)

SELECT
    check_name,
    count(*) AS judged,
    count(*) FILTER (WHERE is_breach) AS breaching,
    count(*) FILTER (WHERE is_breach AND is_open) AS open,
    coalesce(array_agg(tenant_code ORDER BY place) FILTER (WHERE is_breach AND place <= %(examples)s), '{}') AS examples
FROM placed
GROUP BY check_name
ORDER BY check_name;

-- name: save_platform_check
INSERT INTO batch.platform_check (check_name, checked_at, recent)
VALUES (%(check_name)s, %(check_at)s, %(recent)s)
ON CONFLICT (check_name) DO UPDATE SET checked_at = excluded.checked_at, recent = excluded.recent;

-- name: save_platform_incident
INSERT INTO batch.platform_incident (check_name, opened_at, evidence, breached_at, reopened, closed_at)
VALUES (%(check_name)s, %(opened_at)s, %(evidence)s, %(breached_at)s, %(reopened)s, %(closed_at)s)
ON CONFLICT (check_name, opened_at) DO UPDATE SET
    evidence = excluded.evidence, breached_at = excluded.breached_at, reopened = excluded.reopened,
    closed_at = excluded.closed_at;

-- name: join_platform
-- Incidents that the platform's incident replaces. Reported incidents stay separate.
UPDATE batch.incident
SET is_part_of_platform = true
WHERE
    told IS null AND NOT is_part_of_platform AND closed_at IS null
    AND EXISTS (
        SELECT FROM batch.platform_incident AS platform
        WHERE platform.check_name = incident.check_name AND platform.closed_at IS null
    );

-- name: take_platform
-- The platform incidents to report; the statement marks them as reported.
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
RETURNING due.what, incident.check_name, incident.evidence, incident.opened_at, incident.closed_at;

-- name: take_incidents
-- The tenants' incidents to report; the statement marks them as reported. While a platform incident of the same check is open,
-- none is reported. An incident that closed before any report is reported as closed, unless it was part of the platform's
-- incident. The first condition follows from the others, and matches an index.
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
        (closed_at IS null OR told IS DISTINCT FROM 'closed')
        AND CASE
            WHEN closed_at IS NOT null THEN told IN ('warning', 'critical') OR (told IS null AND NOT is_part_of_platform)
            WHEN told = 'critical' OR told = severity
                THEN
                    %(is_reminding)s AND breached_at = %(check_at)s
                    AND (told_at AT TIME ZONE 'Asia/Tokyo')::date < %(today)s
            -- After the platform's incident only tenants that still breach are reported.
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
