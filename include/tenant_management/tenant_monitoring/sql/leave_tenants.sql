-- Tenants that nobody looks at any more: their incidents end, and measures older than any baseline go.
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
