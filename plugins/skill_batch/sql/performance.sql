-- name: comparable_runs
SELECT execution_seconds
FROM batch.performance_metric
WHERE batch_id = %(batch_id)s AND run_id <> %(run_id)s AND is_comparable
ORDER BY recorded_at DESC
LIMIT %(last_runs)s;
