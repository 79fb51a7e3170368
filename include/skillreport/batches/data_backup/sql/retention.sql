-- name: verified_backups
SELECT business_date, verified_at, backup_id, adopted
FROM batch.backup
WHERE status = 'verified'
ORDER BY verified_at, backup_id;

-- name: unfinished_backups
-- Unfinished backups of earlier, ended runs.
SELECT unfinished.backup_id
FROM batch.backup AS unfinished
INNER JOIN batch.backup AS own ON own.execution_id = %(execution_id)s
LEFT JOIN batch.execution_log AS log ON unfinished.execution_id = log.execution_id
WHERE
    unfinished.status IN ('running', 'failed')
    AND unfinished.snapshot_at < own.snapshot_at
    AND log.status IS DISTINCT FROM 'running'
ORDER BY unfinished.backup_id;

-- name: record_deleting
-- Also returns backups that a killed run deleted only partly.
UPDATE batch.backup SET status = 'deleting'
WHERE backup_id = any(%(backup_ids)s) OR status = 'deleting'
RETURNING backup_id;

-- name: record_deleted
UPDATE batch.backup SET status = 'deleted', deleted_at = clock_timestamp()
WHERE backup_id = %(backup_id)s;

-- name: delete_history
UPDATE batch.all_backup_history AS history
SET is_deleted = true, updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE history.backup_id = %(backup_id)s;
