-- Opened, breached again, closed, or back. Of what the operators were told nothing changes here.
INSERT INTO batch.incident (
    tenant_id,
    check_name,
    opened_at,
    severity,
    evidence,
    breached_at,
    reopened,
    closed_at,
    closed_because,
    opened_by
)
SELECT
    changed.tenant_id,
    changed.check_name,
    changed.opened_at,
    changed.severity,
    changed.evidence,
    changed.breached_at,
    changed.reopened,
    changed.closed_at,
    CASE WHEN changed.closed_at IS NOT null THEN 'recovered' END AS closed_because,
    %(execution_id)s AS opened_by
FROM
    jsonb_to_recordset(%(incidents)s) AS changed (
        tenant_id text,
        check_name text,
        opened_at timestamptz,
        severity text,
        evidence text,
        breached_at timestamptz,
        reopened integer,
        closed_at timestamptz
    )
ORDER BY changed.tenant_id, changed.check_name
ON CONFLICT (tenant_id, check_name, opened_at) DO UPDATE SET
    severity = excluded.severity,
    evidence = excluded.evidence,
    breached_at = excluded.breached_at,
    reopened = excluded.reopened,
    closed_at = excluded.closed_at,
    closed_because = excluded.closed_because;
