UPDATE batch.tenant_outcome
SET
    status = 'pending',
    error_code = null,
    error_message = null,
    recorded_at = clock_timestamp()
WHERE
    execution_id = %(execution_id)s AND tenant_id = any(%(tenant_ids)s::text[]) AND part = %(part)s
    AND status <> 'pending';
