-- name: settled_backups
-- Backups that the store cannot correct: the ledger is right about them, or their own run is about to record the result.
SELECT known.backup_id
FROM batch.backup AS known
LEFT JOIN batch.execution_log AS log ON known.execution_id = log.execution_id
WHERE known.status IN ('verified', 'deleting') OR log.status = 'running' OR known.execution_id = %(execution_id)s;

-- name: record_stored_backup
WITH taken_in AS (
    INSERT INTO batch.backup (
        backup_id, business_date, status, location, snapshot_at, dump_bytes, total_bytes, manifest_sha256, verified_at
    )
    VALUES (
        %(backup_id)s,
        %(business_date)s,
        'verified',
        %(location)s,
        %(snapshot_at)s,
        %(dump_bytes)s,
        %(total_bytes)s,
        %(manifest_sha256)s,
        %(verified_at)s
    )
    ON CONFLICT (backup_id) DO UPDATE
        SET
            business_date = excluded.business_date,
            status = 'verified',
            location = excluded.location, snapshot_at = excluded.snapshot_at,
            dump_bytes = excluded.dump_bytes, total_bytes = excluded.total_bytes,
            manifest_sha256 = excluded.manifest_sha256, verified_at = excluded.verified_at,
            deleted_at = null
    RETURNING *
)

-- The run is unknown. If the application has no row of the backup, the backup's id replaces the run's id.
INSERT INTO batch.all_backup_history AS history (
    id, backup_id, backup_type, backup_scope, target_objects, backup_start_time, backup_end_time,
    backup_status, backup_file_path, backup_file_size, compression_type, encryption_enabled, checksum,
    executed_by, recovery_tested, recovery_test_date, updated_at
)
SELECT
    backup_id AS id,
    backup_id,
    'FULL',
    'DATABASE',
    '全テーブル、テナント別の書き出し',
    snapshot_at AT TIME ZONE 'UTC',
    verified_at AT TIME ZONE 'UTC',
    'SUCCESS',
    location,
    total_bytes,
    'ZSTD',
    %(encrypted)s,
    manifest_sha256,
    'BATCH-001',
    true,
    verified_at AT TIME ZONE 'UTC',
    clock_timestamp() AT TIME ZONE 'UTC'
FROM taken_in
ON CONFLICT (backup_id) DO UPDATE SET
    backup_end_time = excluded.backup_end_time,
    backup_status = 'SUCCESS',
    backup_file_path = excluded.backup_file_path, backup_file_size = excluded.backup_file_size,
    checksum = excluded.checksum,
    error_message = null,
    recovery_tested = true,
    recovery_test_date = excluded.recovery_test_date,
    is_deleted = false,
    updated_at = excluded.updated_at;

-- name: all_tenants
SELECT tenant_id FROM batch.all_tenant;

-- name: manifest_sha256
SELECT manifest_sha256 FROM batch.backup
WHERE backup_id = %(backup_id)s;

-- name: exported_tenants
SELECT tenant_id
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id;

-- name: deleted_tenants
SELECT tenant_id FROM batch.deleted_tenant;

-- name: limit_turn_wait
SELECT set_config('lock_timeout', %(wait)s, true);

-- name: share_turn
-- A step of an offboarding holds this lock in its session. The key is that of tenant_turn.
SELECT pg_advisory_xact_lock_shared(%(lock)s, hashtext(%(tenant_id)s));

-- name: reset_lock_wait
SET LOCAL lock_timeout TO DEFAULT;

-- name: begun_deletion
SELECT offboarding_id FROM batch.offboarding
WHERE tenant_id = %(tenant_id)s AND deleting_since IS NOT null;

-- name: mark_deleted_tenant
-- A database from before the deletion has no row of it.
INSERT INTO batch.deleted_tenant (tenant_id, offboarding_id, deleted_at, export_bytes, is_to_repeat)
SELECT
    tenant.tenant_id,
    %(offboarding_id)s,
    %(deleted_at)s,
    0,
    true
FROM batch.all_tenant AS tenant
WHERE tenant.tenant_id = %(tenant_id)s
ON CONFLICT DO NOTHING
RETURNING tenant_id;
