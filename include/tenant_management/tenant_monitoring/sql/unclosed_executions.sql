-- Rows of which a cleared task worked again, and which no close_run has closed since.
SELECT
    execution_id,
    batch_id,
    dag_id,
    run_id,
    reopened_at
FROM batch.execution_log
WHERE reopened_at < %(until)s AND NOT dry_run
ORDER BY reopened_at;
