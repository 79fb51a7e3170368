-- name: usage_state
SELECT
    (
        SELECT count(*)
        FROM batch.tenant_outcome AS expected
        WHERE
            expected.execution_id = log.execution_id
            AND NOT EXISTS (
                SELECT FROM batch.usage_day AS day
                WHERE day.tenant_id = expected.tenant_id AND day.usage_date = %(last_day)s
            )
    ) AS unclosed_tenants,
    (
        SELECT coalesce(bool_and(usage.status <> 'running'), false)
        FROM batch.execution_log AS usage
        WHERE usage.batch_id = 'BATCH-018-01' AND usage.business_date = %(last_day)s AND NOT usage.dry_run
    ) AS usage_run_ended,
    log.started_at
FROM batch.execution_log AS log
WHERE log.execution_id = %(execution_id)s;

-- name: count_samples
SELECT count(*)
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s AND details ->> 'settlement' = %(settlement)s;

-- name: attempts
SELECT attempt.execution_id
FROM batch.attempts_of(%(execution_id)s) AS attempt (execution_id);
