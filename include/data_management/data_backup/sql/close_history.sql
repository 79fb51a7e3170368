UPDATE batch.all_backup_history AS history
SET
    backup_end_time = clock_timestamp() AT TIME ZONE 'UTC',
    backup_status = %(status)s,
    backup_file_size = %(bytes)s,
    checksum = %(sha256)s,
    error_message = %(error)s,
    recovery_tested = %(status)s = 'SUCCESS',
    recovery_test_date = CASE WHEN %(status)s = 'SUCCESS' THEN clock_timestamp() AT TIME ZONE 'UTC' END,
    updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE history.id = %(execution_id)s;
