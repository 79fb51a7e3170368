-- Why the tenants that have no result have none: of a shard (with tenant ids and a part), or of the whole run.
UPDATE batch.tenant_outcome
SET
    status = 'failed',
    error_code = %(error_code)s,
    error_message = %(error_message)s,
    recorded_at = clock_timestamp()
WHERE
    execution_id = %(execution_id)s AND status = 'pending'
    AND (%(tenant_ids)s::text[] IS null OR (tenant_id = any(%(tenant_ids)s::text[]) AND part = %(part)s));
