-- Each threshold once per tenant and window (the month for quotas, the day for surges): a warning that stands stays as it was.
INSERT INTO batch.usage_warning (
    tenant_id,
    kind,
    metric,
    threshold_percent,
    window_start,
    business_date,
    observed,
    reference,
    audience,
    raised_by
)
SELECT
    warning.tenant_id,
    warning.kind,
    warning.metric,
    warning.threshold_percent,
    warning.window_start,
    %(business_date)s,
    warning.observed,
    warning.reference,
    warning.audience,
    %(execution_id)s AS raised_by
FROM
    jsonb_to_recordset(%(warnings)s) AS warning (
        tenant_id text,
        kind text,
        metric text,
        threshold_percent numeric,
        window_start date,
        observed numeric,
        reference numeric,
        audience text[]
    )
ORDER BY warning.tenant_id
ON CONFLICT (tenant_id, kind, metric, threshold_percent, window_start) DO NOTHING
RETURNING
    tenant_id,
    metric,
    threshold_percent;
