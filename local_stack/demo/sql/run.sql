-- name: run
SELECT
    log.execution_id,
    log.status,
    log.business_date,
    log.total_tenants AS total,
    log.success_count AS succeeded,
    log.error_count AS failed,
    performance.records_processed AS records,
    round(performance.execution_seconds, 2) AS seconds,
    round(performance.peak_memory_bytes / 1048576.0) AS peak_memory_mb
FROM batch.execution_log AS log
INNER JOIN batch.performance_metric AS performance USING (execution_id)
WHERE log.batch_id = %(batch_id)s AND log.started_at >= coalesce(%(since)s::timestamptz, '-infinity')
ORDER BY log.started_at DESC
LIMIT 1;
