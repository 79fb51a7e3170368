-- name: last_backup_bytes
-- The bytes of the last verified backup, and of the exports of tenants deleted since.
SELECT
    dump_bytes, greatest(dump_bytes, total_bytes) AS stored_bytes,
    (
        SELECT coalesce(sum(gone.export_bytes), 0) FROM batch.deleted_tenant AS gone
        WHERE gone.deleted_at > backup.snapshot_at
    ) AS deleted_bytes
FROM batch.backup
WHERE dump_bytes IS NOT null AND verified_at IS NOT null AND execution_id IS DISTINCT FROM %(execution_id)s
ORDER BY verified_at DESC
LIMIT 1;

-- name: record_dump
UPDATE batch.backup
SET dump_bytes = %(dump_bytes)s, dump_sha256 = %(dump_sha256)s, encrypted = %(encrypted)s
WHERE execution_id = %(execution_id)s;

-- name: record_manifest
-- Before the manifest is written, so that after a kill the next run knows it by this hash.
UPDATE batch.backup SET manifest_sha256 = %(manifest_sha256)s
WHERE execution_id = %(execution_id)s;

-- name: failed_exports
SELECT tenant_id
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s AND status <> 'success'
ORDER BY tenant_id;

-- name: record_verified
UPDATE batch.backup
SET
    status = 'verified',
    total_bytes = %(total_bytes)s,
    manifest_sha256 = %(manifest_sha256)s,
    verified_at = %(verified_at)s
WHERE execution_id = %(execution_id)s;

-- name: record_failed
UPDATE batch.backup SET status = 'failed'
WHERE execution_id = %(execution_id)s AND status = 'running'
RETURNING backup_id;

-- name: close_history
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
