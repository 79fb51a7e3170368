-- name: batch_runs
-- A batch's runs, newest first, with the figures of the first closing.
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.operation, run.status,
    run.started_at, run.ended_at, run.total_tenants, run.success_count, run.error_count, run.error_message, run.reopened_at,
    run.triggered_by, run.reason, metric.execution_seconds, metric.peak_memory_bytes, metric.records_processed
FROM (
    SELECT *
    FROM batch.board_run
    WHERE batch_id = %(batch_id)s
    ORDER BY started_at DESC
    LIMIT %(count)s OFFSET %(skipped)s
) AS run
LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id
ORDER BY run.started_at DESC;

-- name: batch_run_count
SELECT count(*) AS runs
FROM batch.board_run
WHERE batch_id = %(batch_id)s;

-- name: batch_newest_run
SELECT
    execution_id, dag_id, run_id, business_date, status, started_at, ended_at, chosen_tenants, total_tenants, error_message
FROM batch.board_run
WHERE batch_id = %(batch_id)s AND status <> 'running' AND NOT dry_run
ORDER BY started_at DESC
LIMIT 1;

-- name: batch_outcome_counts
SELECT
    count(*) FILTER (WHERE status = 'success') AS success,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'pending') AS pending
FROM batch.board_outcome
WHERE execution_id = %(execution_id)s;

-- name: batch_top_notes
SELECT note, count(*) AS tenants
FROM batch.board_outcome
CROSS JOIN unnest(notes) AS noted (note)
WHERE execution_id = %(execution_id)s
GROUP BY note
ORDER BY tenants DESC, note ASC
LIMIT %(most)s;
