-- Backups (BATCH-001) and their state. The content is described in the manifest beside the files.

CREATE TABLE batch.backup (
    backup_id text PRIMARY KEY,
    execution_id text UNIQUE,
    business_date date NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'failed', 'verified', 'deleting', 'deleted')),
    location text NOT NULL,
    snapshot_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dump_bytes bigint CHECK (dump_bytes > 0),
    dump_sha256 text,
    encrypted boolean NOT NULL DEFAULT false,
    total_bytes bigint,
    manifest_sha256 text,
    adopted boolean NOT NULL DEFAULT false,
    verified_at timestamptz,
    deleted_at timestamptz,
    CHECK (status <> 'verified' OR (dump_bytes IS NOT null AND manifest_sha256 IS NOT null AND verified_at IS NOT null))
);
CALL batch.make_platform_table('batch.backup');
CREATE POLICY board ON batch.backup FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.backup IS
'One row per started backup. Retention deletes the files and keeps the row.';
COMMENT ON COLUMN batch.backup.execution_id IS 'NULL: found in the store, of a run that this database does not know';
COMMENT ON COLUMN batch.backup.dump_sha256 IS
'Of dump.json as it was written; NULL: adopted. No other dump of this backup is restored';
COMMENT ON COLUMN batch.backup.encrypted IS 'Whether all its files were encrypted when the dump was taken';
COMMENT ON COLUMN batch.backup.manifest_sha256 IS 'Of manifest.json, recorded before it is written';
COMMENT ON COLUMN batch.backup.adopted IS
'Known from the store alone, by its MAC. The retention deletes no other backup because of it';
COMMENT ON COLUMN batch.backup.dump_bytes IS
'Bytes of the dump as it is stored (compressed); the next one must not come to less than half';
