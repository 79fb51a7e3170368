-- A dump that is cleared after its run was closed: the log says again that somebody is at work, so that no other run begins.
UPDATE batch.execution_log SET status = 'running', started_at = clock_timestamp(), ended_at = null, error_message = null
WHERE execution_id = %(execution_id)s AND status <> 'running';
