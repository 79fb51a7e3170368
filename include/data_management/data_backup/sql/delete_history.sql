UPDATE batch.all_backup_history AS history
SET
    is_deleted = true,
    updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE history.backup_id = %(backup_id)s;
