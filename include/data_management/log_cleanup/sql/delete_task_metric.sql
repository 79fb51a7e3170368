DELETE FROM batch.task_metric AS metric
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::integer[]) AS old (execution_id, task_id, map_index)
WHERE
    metric.execution_id = old.execution_id
    AND metric.task_id = old.task_id
    AND metric.map_index = old.map_index;
