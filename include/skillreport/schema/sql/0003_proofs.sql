-- Others may write into the object store. A file of it counts only if it has the hash that was recorded when it was written.

CREATE TABLE batch.deleted_row_archive (
    tenant_id text,
    archive text,
    business_date date NOT NULL,
    manifest_sha256 text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, archive)
);
CALL batch.make_tenant_table('batch.deleted_row_archive');
COMMENT ON TABLE batch.deleted_row_archive IS
'Archives of rows that BATCH-002 deleted. The transaction that deletes an archive''s first rows records it';
COMMENT ON COLUMN batch.deleted_row_archive.archive IS '<business date>/<name>, in the tenant''s folder of deleted_rows';
COMMENT ON COLUMN batch.deleted_row_archive.manifest_sha256 IS
'Of the manifest, which has the hashes of the files';

CREATE TABLE batch.provisional_file (
    key text PRIMARY KEY,
    month date NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CALL batch.make_platform_table('batch.provisional_file');
CREATE POLICY board ON batch.provisional_file FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.provisional_file IS
'The present accounting files of open months. Closing a month deletes its rows';
COMMENT ON COLUMN batch.provisional_file.key IS 'In the object store';
