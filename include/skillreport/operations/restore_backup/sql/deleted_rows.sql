-- name: recorded_archives
-- Acts as batch_platform.
SELECT archive, manifest_sha256 FROM batch.deleted_row_archive
WHERE tenant_id = %(tenant_id)s;
