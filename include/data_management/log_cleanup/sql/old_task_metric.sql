SELECT
    metric.execution_id,
    metric.task_id,
    metric.map_index::text AS map_index
FROM batch.task_metric AS metric
INNER JOIN batch.execution_log AS log ON metric.execution_id = log.execution_id
WHERE log.started_at < %(before)s AND log.status <> 'running';
