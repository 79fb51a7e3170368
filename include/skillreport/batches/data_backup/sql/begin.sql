-- name: running_backup
-- Another run that is taking a backup. A killed run is closed when the next run opens.
SELECT log.execution_id, log.dag_id, log.run_id
FROM batch.backup AS begun
INNER JOIN batch.execution_log AS log ON begun.execution_id = log.execution_id
WHERE begun.status = 'running' AND log.status = 'running' AND begun.execution_id <> %(execution_id)s
ORDER BY begun.snapshot_at
LIMIT 1;

-- name: own_backup
SELECT backup_id, status, snapshot_at, dump_sha256, encrypted, manifest_sha256
FROM batch.backup
WHERE execution_id = %(execution_id)s;

-- name: begin_backup
-- The run's own row; a repeated step keeps the id. Ids count up within a business date (Asia/Tokyo), like the host's, over the
-- ledger, the application's history and the store.
INSERT INTO batch.backup AS begun (backup_id, execution_id, business_date, status, location)
SELECT
    coalesce(
        (
            SELECT own.backup_id FROM batch.backup AS own
            WHERE own.execution_id = %(execution_id)s
        ),
        format(
            'BKP_%%s_%%s',
            to_char(%(business_date)s::date, 'YYYYMMDD'),
            lpad(
                (
                    SELECT 1 + coalesce(max(right(taken.backup_id, 3)::integer), 0)
                    FROM (
                        SELECT backup_id FROM batch.backup
                        UNION ALL
                        SELECT backup_id FROM batch.all_backup_history
                        UNION ALL
                        SELECT unnest(%(stored)s::text[]) AS backup_id
                    ) AS taken
                    WHERE taken.backup_id ~ format('^BKP_%%s_\d{3}$', to_char(%(business_date)s::date, 'YYYYMMDD'))
                )::text,
                3,
                '0'
            )
        )
    ),
    %(execution_id)s,
    %(business_date)s,
    'running',
    ''
ON CONFLICT (execution_id) DO UPDATE
    SET
        status = 'running', snapshot_at = clock_timestamp(), verified_at = null,
        dump_sha256 = null, manifest_sha256 = null
RETURNING begun.backup_id;

-- name: note_location
UPDATE batch.backup SET location = %(location)s
WHERE backup_id = %(backup_id)s;

-- name: reopen_execution
-- The dump was cleared after its run was closed. Set the log to running, so that no other run starts.
UPDATE batch.execution_log SET status = 'running', started_at = clock_timestamp(), ended_at = null, error_message = null
WHERE execution_id = %(execution_id)s AND status <> 'running';

-- name: close_abandoned_history
-- Only one run takes a backup at a time, so a RUNNING row of another run belongs to a lost run.
UPDATE batch.all_backup_history AS history
SET
    backup_end_time = clock_timestamp() AT TIME ZONE 'UTC',
    backup_status = 'FAILED',
    error_message = '実行が途中で失われました',
    updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE history.backup_status = 'RUNNING' AND history.executed_by = 'BATCH-001' AND history.id <> %(execution_id)s;

-- name: write_history
INSERT INTO batch.all_backup_history AS history (
    id, backup_id, backup_type, backup_scope, target_objects, backup_start_time, backup_status,
    backup_file_path, compression_type, encryption_enabled, backup_trigger, executed_by, recovery_tested,
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
