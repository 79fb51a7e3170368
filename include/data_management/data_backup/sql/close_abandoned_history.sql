-- One run at a time takes a backup: what still says running was left by one that is gone.
UPDATE batch.all_backup_history AS history
SET
    backup_end_time = clock_timestamp() AT TIME ZONE 'UTC',
    backup_status = 'FAILED',
    error_message = '実行が途中で失われました',
    updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE history.backup_status = 'RUNNING' AND history.executed_by = 'BATCH-001' AND history.id <> %(execution_id)s;
