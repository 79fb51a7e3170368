INSERT INTO batch.task_metric (execution_id, task_id, map_index, wall_seconds, cpu_seconds, peak_memory_bytes)
VALUES (
    %(execution_id)s, %(task_id)s, %(map_index)s, %(wall_seconds)s, %(cpu_seconds)s, %(peak_memory_bytes)s
)
ON CONFLICT (execution_id, task_id, map_index) DO UPDATE SET
    wall_seconds = excluded.wall_seconds,
    cpu_seconds = excluded.cpu_seconds,
    peak_memory_bytes = excluded.peak_memory_bytes;
