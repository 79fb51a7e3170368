INSERT INTO batch.inactivity_change (
    tenant_id,
    changed_on,
    from_stage,
    to_stage,
    reason,
    inactive_days,
    inactive_since,
    last_activity_on,
    recorded_by
)
SELECT
    change.tenant_id,
    %(business_date)s,
    change.from_stage,
    change.to_stage,
    change.reason,
    change.inactive_days,
    change.inactive_since,
    change.last_activity_on,
    %(execution_id)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text,
        from_stage text,
        to_stage text,
        reason text,
        inactive_days integer,
        inactive_since date,
        last_activity_on date
    )
ORDER BY change.tenant_id
ON CONFLICT (tenant_id, changed_on, from_stage, to_stage) DO NOTHING;
