-- name: settled_backups
-- Backups that the store cannot correct: the ledger is right about them, or their run will record the result.
SELECT known.backup_id
FROM batch.backup AS known
LEFT JOIN batch.execution_log AS log ON known.execution_id = log.execution_id
WHERE known.status IN ('verified', 'deleting') OR log.status = 'running' OR known.execution_id = %(execution_id)s;

-- name: record_stored_backup
WITH taken_in AS (
    INSERT INTO batch.backup (
        backup_id, business_date, status, location, snapshot_at, dump_bytes, encrypted, total_bytes, manifest_sha256, adopted,
        verified_at
    )
    VALUES (
        %(backup_id)s,
        %(business_date)s,
        'verified',
        %(location)s,
        %(snapshot_at)s,
        %(dump_bytes)s,
        %(encrypted)s,
        %(total_bytes)s,
        %(manifest_sha256)s,
        %(has_mac)s IS true,
        %(verified_at)s
    )
    ON CONFLICT (backup_id) DO UPDATE
        SET
            business_date = excluded.business_date,
            status = 'verified',
            location = excluded.location, snapshot_at = excluded.snapshot_at,
            dump_bytes = excluded.dump_bytes, encrypted = excluded.encrypted, total_bytes = excluded.total_bytes,
            manifest_sha256 = excluded.manifest_sha256, adopted = excluded.adopted, verified_at = excluded.verified_at,
            deleted_at = null
    RETURNING *
)

-- The run is unknown. If the application has no row for the backup, the backup's id replaces the run's id.
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

-- name: recorded_manifests
SELECT backup_id, manifest_sha256 FROM batch.backup
WHERE manifest_sha256 IS NOT null;

-- name: exported_tenants
SELECT tenant_id, details ->> 'manifest' AS manifest_sha256
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id;

-- name: deleted_tenants
SELECT tenant_id FROM batch.deleted_tenant;

-- name: listed_tenant
SELECT tenant_id FROM batch.deleted_tenant
WHERE tenant_id = %(tenant_id)s;

-- name: own_register
-- This database's own deletions.
SELECT tenant_id, offboarding_id, deleted_at
FROM batch.deleted_tenant
WHERE NOT is_to_repeat;

-- name: void_entry
SELECT tenant_id FROM batch.disputed_entry
WHERE tenant_id = %(tenant_id)s AND offboarding_id = %(offboarding_id)s AND decided_at IS NOT null;

-- name: void_entries
SELECT tenant_id, offboarding_id FROM batch.disputed_entry
WHERE decided_at IS NOT null;

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
-- A database from before the deletion has no such row.
INSERT INTO batch.deleted_tenant (tenant_id, offboarding_id, deleted_at, export_bytes, is_to_repeat)
SELECT
    tenant.tenant_id,
    %(offboarding_id)s,
    %(deleted_at)s,
    0,
    true
FROM batch.all_tenant AS tenant
WHERE
    tenant.tenant_id = %(tenant_id)s
    AND NOT EXISTS (
        SELECT FROM batch.disputed_entry AS wrong
        WHERE
            wrong.tenant_id = tenant.tenant_id AND wrong.offboarding_id = %(offboarding_id)s
            AND wrong.decided_at IS NOT null
    )
ON CONFLICT DO NOTHING
RETURNING tenant_id;
