-- Gives those too that a killed run has left half deleted.
UPDATE batch.backup SET status = 'deleting'
WHERE backup_id = any(%(backup_ids)s) OR status = 'deleting'
RETURNING backup_id;
