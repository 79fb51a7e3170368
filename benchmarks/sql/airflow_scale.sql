-- name: scale_dag_is_known
SELECT dag_id
FROM dag
WHERE dag_id = %(dag_id)s;

-- name: scale_dag_is_idle
-- No moment of the schedule waits for its run, and no run has yet to end.
SELECT dag.dag_id
FROM dag
WHERE
    dag.dag_id = %(dag_id)s AND coalesce(dag.next_dagrun_create_after > now(), true)
    AND NOT EXISTS (
        SELECT
        FROM dag_run
        WHERE dag_run.dag_id = dag.dag_id AND dag_run.state NOT IN ('success', 'failed')
    );

-- name: scale_run_has_ended
SELECT run_id
FROM dag_run
WHERE dag_id = %(dag_id)s AND run_id = 'measured' AND state IN ('success', 'failed');

-- name: scale_run
SELECT
    run.state,
    extract(EPOCH FROM run.end_date - run.start_date) AS seconds,
    (
        SELECT count(*) FROM task_instance AS instance
        WHERE instance.dag_id = run.dag_id AND instance.run_id = run.run_id AND instance.map_index >= 0
    ) AS instances,
    (
        SELECT sum(octet_length(entry.value::text)) FROM xcom AS entry
        WHERE entry.dag_id = run.dag_id AND entry.run_id = run.run_id
    ) AS xcom_bytes
FROM dag_run AS run
WHERE run.dag_id = %(dag_id)s AND run.run_id = 'measured';

-- name: scale_steps
SELECT metric.task_id, sum(metric.wall_seconds)::float AS seconds
FROM batch.task_metric AS metric
INNER JOIN batch.execution_log AS log USING (execution_id)
WHERE log.run_id = 'measured'
GROUP BY metric.task_id
ORDER BY metric.task_id;

-- name: scale_peak_memory
SELECT max(metric.peak_memory_bytes)
FROM batch.task_metric AS metric
INNER JOIN batch.execution_log AS log USING (execution_id)
WHERE log.run_id = 'measured';

-- name: scale_closed_days
SELECT count(*)
FROM batch.usage_day
WHERE usage_date = %(day)s;
