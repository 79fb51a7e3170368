-- name: share_instances
SELECT
    task_id,
    map_index,
    extract(EPOCH FROM end_date)::float AS ended
FROM task_instance
WHERE dag_id = %(dag_id)s AND run_id = 'measured' AND end_date IS NOT null;

-- name: share_work
SELECT
    metric.task_id,
    metric.map_index,
    metric.wall_seconds::float AS wall_seconds
FROM batch.task_metric AS metric
INNER JOIN batch.execution_log AS log USING (execution_id)
WHERE log.dag_id = %(dag_id)s AND log.run_id = 'measured';

-- name: share_metadata_rows
SELECT sum(n_tup_ins - n_tup_del)::bigint AS rows_now
FROM pg_stat_user_tables;
