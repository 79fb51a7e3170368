-- name: announce
-- Only a closed, complete run for all tenants, and no dry run. Repeated: a run for this date was announced before this run was
-- closed. A second attempt to announce the same closing is not a repetition.
UPDATE batch.execution_log AS log
SET announced_at = coalesce(log.announced_at, clock_timestamp())
WHERE
    log.execution_id = %(execution_id)s
    AND log.status = 'completed' AND log.reopened_at IS null
    AND NOT log.dry_run
    AND coalesce(log.parameters -> 'tenants', '[]') IN ('[]', 'null')
RETURNING
    log.total_tenants,
    log.version,
    (
        SELECT metric.records_processed FROM batch.performance_metric AS metric
        WHERE metric.execution_id = log.execution_id
    )::bigint AS records,
    log.announced_at < log.ended_at OR EXISTS (
        SELECT FROM batch.execution_log AS other
        WHERE
            other.batch_id = log.batch_id AND other.business_date = log.business_date
            AND other.announced_at < log.ended_at
    ) AS is_repeated;
