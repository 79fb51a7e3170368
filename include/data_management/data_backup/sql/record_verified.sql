UPDATE batch.backup
SET
    status = 'verified',
    total_bytes = %(total_bytes)s,
    manifest_sha256 = %(manifest_sha256)s,
    verified_at = %(verified_at)s
WHERE execution_id = %(execution_id)s;
