UPDATE batch.backup SET status = 'failed'
WHERE execution_id = %(execution_id)s AND status = 'running'
RETURNING backup_id;
