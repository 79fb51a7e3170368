DELETE FROM batch.execution_log
WHERE execution_id = any(%(ids)s) AND started_at < %(before)s AND status <> 'running';
