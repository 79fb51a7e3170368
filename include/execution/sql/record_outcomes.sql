INSERT INTO batch.tenant_outcome AS recorded (
    execution_id,
    tenant_id,
    part,
    status,
    details,
    notes,
    records,
    error_code,
    error_message,
    attempts
)
SELECT
    %(execution_id)s,
    outcome.tenant_id,
    %(part)s,
    outcome.status,
    outcome.details,
    outcome.notes,
    outcome.records,
    outcome.error_code,
    outcome.error_message,
    (outcome.status <> 'pending')::integer AS attempts
FROM
    jsonb_to_recordset(%(outcomes)s) AS outcome (
        tenant_id text,
        status text,
        details jsonb,
        notes text[],
        records bigint,
        error_code text,
        error_message text
    )
ORDER BY outcome.tenant_id
ON CONFLICT (execution_id, tenant_id, part) DO UPDATE SET
    status = excluded.status,
    details = excluded.details,
    notes = excluded.notes,
    records = excluded.records,
    error_code = excluded.error_code,
    error_message = excluded.error_message,
    attempts = recorded.attempts + excluded.attempts,
    recorded_at = clock_timestamp();
