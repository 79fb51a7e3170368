-- name: load_tenants
-- The tenants' present state, and the result of their last check. The month's calls are the calls of its closed days and of the
-- hours since; null without a source.
--
-- LATERAL makes the planner look up the measures by tenant, because row-level security hides the small number of a shard's rows.
-- "closed" converts the day to a time, because row-level security prevents index conditions with a conversion.
SELECT
    signal.tenant_id,
    greatest(known.last_activity_at, signal.last_activity_at) AS last_activity_at,
    signal.storage_bytes, signal.subscription_plan, signal.max_storage_gb, signal.contract_end,
    signal.waiting_messages, signal.failing_batches, signal.monitoring_overrides, signal.usage_overrides,
    known.checked_at, known.recent,
    CASE
        WHEN closed.api_calls IS NOT null OR since.api_calls IS NOT null
            THEN coalesce(closed.api_calls, 0) + coalesce(since.api_calls, 0)
    END AS month_api_calls
FROM batch.monitoring_signal AS signal
INNER JOIN batch.monitored_tenant AS known ON signal.tenant_id = known.tenant_id
CROSS JOIN
    LATERAL (
        SELECT
            sum(day.api_calls) AS api_calls,
            coalesce(max(day.usage_date) + 1, %(month_start)s)::timestamp AT TIME ZONE 'Asia/Tokyo' AS until
        FROM batch.usage_day AS day
        WHERE
            day.tenant_id = signal.tenant_id AND day.usage_date >= %(month_start)s AND day.usage_date < %(today)s
    ) AS closed
CROSS JOIN
    LATERAL (
        SELECT sum(measure.api_calls) AS api_calls
        FROM batch.hourly_measure AS measure
        WHERE
            measure.tenant_id = signal.tenant_id
            AND measure.hour_at >= closed.until AND measure.hour_at < %(check_at)s
    ) AS since
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;

-- name: save_tenants
UPDATE batch.monitored_tenant AS known
SET checked_at = %(check_at)s, last_activity_at = checked.last_activity_at, recent = checked.recent
FROM jsonb_to_recordset(%(tenants)s) AS checked (tenant_id text, last_activity_at timestamptz, recent jsonb)
WHERE known.tenant_id = checked.tenant_id;

-- name: load_incidents
-- The newest incident of each check that is open, or was closed recently enough to be reopened.
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

-- name: save_incidents
-- Incidents that were opened, breached again, closed or reopened. The columns about reports to the operators do not change.
INSERT INTO batch.incident (
    tenant_id, check_name, opened_at, severity, evidence, breached_at, reopened, closed_at, closed_because,
    opened_by
)
SELECT
    changed.tenant_id, changed.check_name, changed.opened_at, changed.severity, changed.evidence,
    changed.breached_at, changed.reopened, changed.closed_at,
    CASE WHEN changed.closed_at IS NOT null THEN 'recovered' END AS closed_because,
    %(execution_id)s AS opened_by
FROM
    jsonb_to_recordset(%(incidents)s) AS changed (
        tenant_id text, check_name text, opened_at timestamptz, severity text, evidence text,
        breached_at timestamptz, reopened integer, closed_at timestamptz
    )
ORDER BY changed.tenant_id, changed.check_name
ON CONFLICT (tenant_id, check_name, opened_at) DO UPDATE SET
    severity = excluded.severity, evidence = excluded.evidence, breached_at = excluded.breached_at,
    reopened = excluded.reopened, closed_at = excluded.closed_at, closed_because = excluded.closed_because;
