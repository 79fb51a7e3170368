INSERT INTO batch.all_backup_history AS history (
    id,
    backup_id,
    backup_type,
    backup_scope,
    target_objects,
    backup_start_time,
    backup_status,
    backup_file_path,
    compression_type,
    encryption_enabled,
    backup_trigger,
    executed_by,
    recovery_tested,
    updated_at
)
SELECT
    begun.execution_id,
    begun.backup_id,
    'FULL',
    'DATABASE',
    '全テーブル、テナント別の書き出し',
    begun.snapshot_at AT TIME ZONE 'UTC',
    'RUNNING',
    begun.location,
    'ZSTD',
    %(encrypted)s,
    CASE WHEN starts_with(log.run_id, 'scheduled__') THEN 'SCHEDULED' ELSE 'MANUAL' END,
    'BATCH-001',
    false,
    clock_timestamp() AT TIME ZONE 'UTC'
FROM batch.backup AS begun
INNER JOIN batch.execution_log AS log USING (execution_id)
WHERE begun.execution_id = %(execution_id)s
ON CONFLICT (id) DO UPDATE SET
    backup_start_time = excluded.backup_start_time,
    backup_end_time = null,
    backup_status = 'RUNNING',
    encryption_enabled = excluded.encryption_enabled,
    error_message = null,
    recovery_tested = false,
    recovery_test_date = null,
    updated_at = excluded.updated_at;
