UPDATE batch.execution_log
SET
    status = 'failed',
    ended_at = clock_timestamp(),
    error_message = %(error_message)s
WHERE execution_id = %(execution_id)s AND status = 'running';
