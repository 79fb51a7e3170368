SELECT
    backup_id,
    status,
    snapshot_at
FROM batch.backup
WHERE execution_id = %(execution_id)s;
