-- A tenant's first judgement starts from no stage; the same transaction fills in the rest. Whoever comes second waits here.
INSERT INTO batch.tenant_inactivity (
    tenant_id,
    stage,
    inactive_since,
    judged_on,
    entered_on,
    entered_by
)
SELECT
    signal.tenant_id,
    'none' AS stage,
    %(business_date)s AS inactive_since,
    %(business_date)s AS judged_on,
    %(business_date)s AS entered_on,
    %(execution_id)s AS entered_by
FROM batch.inactivity_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s
    AND NOT EXISTS (
        SELECT FROM batch.tenant_inactivity AS known
        WHERE known.tenant_id = signal.tenant_id
    )
ORDER BY signal.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;
