UPDATE batch.execution_log
SET reopened_at = clock_timestamp()
WHERE execution_id = %(execution_id)s AND status <> 'running' AND reopened_at IS null;
