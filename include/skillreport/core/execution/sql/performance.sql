-- name: record_task_metric
INSERT INTO batch.task_metric (execution_id, task_id, map_index, wall_seconds, cpu_seconds, peak_memory_bytes)
VALUES (
    %(execution_id)s, %(task_id)s, %(map_index)s, %(wall_seconds)s, %(cpu_seconds)s, %(peak_memory_bytes)s
)
ON CONFLICT (execution_id, task_id, map_index) DO UPDATE SET
    wall_seconds = excluded.wall_seconds, cpu_seconds = excluded.cpu_seconds,
    peak_memory_bytes = excluded.peak_memory_bytes;

-- name: record_performance
INSERT INTO batch.performance_metric (
    execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes,
    records_processed, is_comparable
)
SELECT
    log.execution_id, log.batch_id, log.run_id, log.business_date,
    extract(EPOCH FROM log.ended_at - log.started_at) AS execution_seconds,
    coalesce(used.cpu_seconds, 0) AS cpu_seconds,
    coalesce(used.peak_memory_bytes, 0) AS peak_memory_bytes,
    coalesce(done.records, 0) AS records_processed,
    log.status = 'completed'
    AND NOT log.dry_run
    AND coalesce(log.parameters -> 'tenants', '[]') IN ('[]', 'null') AS is_comparable
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT
            sum(metric.cpu_seconds) AS cpu_seconds,
            max(metric.peak_memory_bytes) AS peak_memory_bytes
        FROM batch.task_metric AS metric
        WHERE metric.execution_id = log.execution_id
    ) AS used
CROSS JOIN
    LATERAL (
        SELECT sum(outcome.records) AS records
        FROM batch.tenant_outcome AS outcome
        WHERE outcome.execution_id = log.execution_id
    ) AS done
WHERE log.execution_id = %(execution_id)s
-- Keep the figures of the first closing. After an instance was cleared, they would include the hours in between.
ON CONFLICT (execution_id) DO UPDATE
    SET records_processed = excluded.records_processed
RETURNING execution_seconds, records_processed;
