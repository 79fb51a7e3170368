-- name: backup
SELECT
    backup_id,
    status,
    (
        SELECT count(*) FROM batch.tenant_outcome AS outcome
        WHERE outcome.execution_id = backup.execution_id
    ) AS tenants,
    dump_bytes,
    total_bytes,
    left(manifest_sha256, 16) AS manifest
FROM batch.backup
ORDER BY backup_id;
