SELECT
    execution_id,
    dag_id,
    run_id,
    started_at
FROM batch.execution_log
WHERE batch_id = %(batch_id)s AND status = 'running'
ORDER BY started_at;
