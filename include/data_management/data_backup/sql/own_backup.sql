SELECT
    backup_id,
    status
FROM batch.backup
WHERE execution_id = %(execution_id)s;
