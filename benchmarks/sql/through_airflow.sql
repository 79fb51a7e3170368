-- name: dag_is_known
SELECT dag_id
FROM dag
WHERE dag_id = %(dag_id)s;

-- name: dag_is_idle
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

-- name: run_has_ended
SELECT run_id
FROM dag_run
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND state IN ('success', 'failed');

-- name: airflow_run
SELECT
    run.state, extract(EPOCH FROM run.end_date - run.start_date) AS seconds,
    (
        SELECT sum(octet_length(entry.value::text)) FROM xcom AS entry
        WHERE entry.dag_id = run.dag_id AND entry.run_id = run.run_id
    ) AS xcom_bytes
FROM dag_run AS run
WHERE run.dag_id = %(dag_id)s AND run.run_id = %(run_id)s;

-- name: airflow_instances
SELECT task_id, map_index, extract(EPOCH FROM end_date)::float AS ended
FROM task_instance
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND end_date IS NOT null;

-- name: worked
SELECT metric.task_id, metric.map_index, metric.wall_seconds::float AS wall_seconds, metric.peak_memory_bytes
FROM batch.task_metric AS metric
INNER JOIN batch.execution_log AS log USING (execution_id)
WHERE log.dag_id = %(dag_id)s AND log.run_id = %(run_id)s;

-- name: metadata_rows
SELECT sum(n_tup_ins - n_tup_del)::bigint AS rows_now
FROM pg_stat_user_tables;

-- name: closed_days
SELECT count(*)
FROM batch.usage_day
WHERE usage_date = %(day)s;
