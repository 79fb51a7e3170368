SELECT execution_id
FROM batch.execution_log
WHERE started_at < %(before)s AND status <> 'running';
