-- name: last_try
SELECT clear_number, try_number, max_tries, is_cleared
FROM batch.task_opening
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND task_id = %(task_id)s AND map_index = %(map_index)s
FOR UPDATE;

-- name: record_try
INSERT INTO batch.task_opening (
    dag_id, run_id, task_id, map_index, clear_number, try_number, max_tries, is_cleared
)
VALUES (
    %(dag_id)s,
    %(run_id)s,
    %(task_id)s,
    %(map_index)s,
    %(clear_number)s,
    %(try_number)s,
    %(max_tries)s,
    %(is_cleared)s
)
ON CONFLICT (dag_id, run_id, task_id, map_index) DO UPDATE SET
    clear_number = excluded.clear_number,
    try_number = excluded.try_number,
    max_tries = excluded.max_tries,
    is_cleared = excluded.is_cleared,
    opened_at = now();

-- name: run_of_execution
SELECT dag_id, run_id
FROM batch.execution_log
WHERE execution_id = %(execution_id)s;
