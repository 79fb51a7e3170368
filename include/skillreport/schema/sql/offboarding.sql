-- Tenants that leave (operation offboard_tenant): decisions, keys frozen for the deletion, and deleted tenants.

CREATE TABLE batch.offboarding (
    offboarding_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    tenant_code text NOT NULL,
    tenant_name text NOT NULL,
    stage text NOT NULL CHECK (stage IN ('begun', 'exported', 'asked', 'frozen', 'deleted', 'cancelled')),
    open_items jsonb NOT NULL,
    reason text NOT NULL,
    begun_by text NOT NULL,
    begun_at timestamptz NOT NULL,
    age_key text,
    customer_file text,
    exported_by text,
    exported_at timestamptz,
    waits_until date,
    reminded_at timestamptz,
    asked_by text,
    asked_at timestamptz,
    asked_in text,
    approved_by text,
    approved_at timestamptz,
    frozen_at timestamptz,
    manifest_sha256 text,
    export_bytes bigint,
    unowned bigint,
    deleting_since timestamptz,
    problem text,
    deleted_at timestamptz,
    remains jsonb NOT NULL DEFAULT '[]',
    cancelled_by text,
    cancelled_in text,
    cancelled_at timestamptz,
    CHECK ((stage = 'cancelled') = (cancelled_at IS NOT null)),
    CHECK ((stage = 'deleted') = (deleted_at IS NOT null)),
    CHECK (stage NOT IN ('exported', 'asked', 'frozen', 'deleted') OR (exported_at IS NOT null AND waits_until IS NOT null)),
    CHECK (stage <> 'asked' OR asked_in IS NOT null),
    CHECK (stage NOT IN ('frozen', 'deleted') OR (frozen_at IS NOT null AND approved_by IS NOT null)),
    CHECK (stage <> 'cancelled' OR deleting_since IS null)
);
CREATE UNIQUE INDEX offboarding_open ON batch.offboarding (tenant_id) WHERE stage NOT IN ('deleted', 'cancelled');
CALL batch.make_platform_table('batch.offboarding');
CREATE POLICY board ON batch.offboarding FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.offboarding IS
'One row per attempt to let a tenant leave. The record of who decided what stays.';
COMMENT ON COLUMN batch.offboarding.open_items IS 'What was open at the beginning, and decided: the number by kind';
COMMENT ON COLUMN batch.offboarding.age_key IS 'The public key (age) that the customer gave';
COMMENT ON COLUMN batch.offboarding.waits_until IS 'The first day (Asia/Tokyo) on which the approval can be asked for';
COMMENT ON COLUMN batch.offboarding.asked_in IS 'execution_id of the run that asked for the approval';
COMMENT ON COLUMN batch.offboarding.manifest_sha256 IS 'Of the newest export; after a stop, of each approved one';
COMMENT ON COLUMN batch.offboarding.unowned IS
'The rows of the application, of all tenants together, whose owner nobody can know';
COMMENT ON COLUMN batch.offboarding.deleting_since IS 'The first deletion: nobody can cancel any more';
COMMENT ON COLUMN batch.offboarding.problem IS 'Why the deletion stopped; a new approval continues it';
COMMENT ON COLUMN batch.offboarding.remains IS 'What could not be deleted, one sentence each';

CREATE TABLE batch.offboarding_table (
    offboarding_id text NOT NULL REFERENCES batch.offboarding,
    table_name text NOT NULL,
    place integer NOT NULL,
    rule text NOT NULL CHECK (rule IN ('delete', 'blank', 'keep')),
    exported bigint NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (offboarding_id, table_name)
);
CALL batch.make_platform_table('batch.offboarding_table');
CREATE POLICY board ON batch.offboarding_table FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.offboarding_table IS
'Per table (with its schema) the rows of the tenant in the newest export, and how many of them are deleted or blanked.';

-- Both tables hold personal data and are deleted with the tenant.
CREATE TABLE batch.frozen_person (
    person_key text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('any', 'employee', 'account')),
    tenant_id text NOT NULL,
    PRIMARY KEY (person_key, kind)
);
CREATE INDEX frozen_person_by_tenant ON batch.frozen_person (tenant_id);
CALL batch.make_platform_table('batch.frozen_person');
COMMENT ON TABLE batch.frozen_person IS
'The keys of the users of a tenant whose deletion was approved. They stay known while their accounts are deleted.';

CREATE TABLE batch.frozen_chunk (
    offboarding_id text NOT NULL REFERENCES batch.offboarding,
    table_name text NOT NULL,
    chunk integer NOT NULL,
    keys jsonb NOT NULL,
    row_count integer NOT NULL,
    done_at timestamptz,
    PRIMARY KEY (offboarding_id, table_name, chunk)
);
CALL batch.make_platform_table('batch.frozen_chunk');
COMMENT ON TABLE batch.frozen_chunk IS
'The primary keys of the application''s rows that the approval is about, in chunks that one transaction deletes or blanks.';

CREATE TABLE batch.deleted_tenant (
    tenant_id text PRIMARY KEY,
    offboarding_id text NOT NULL,
    deleted_at timestamptz NOT NULL,
    export_bytes bigint NOT NULL,
    is_to_repeat boolean NOT NULL DEFAULT false,
    awaits_supplement boolean NOT NULL DEFAULT false
);
CALL batch.make_tenant_table('batch.deleted_tenant');
REVOKE INSERT, UPDATE, DELETE ON batch.deleted_tenant FROM batch_tenant;
CREATE POLICY board ON batch.deleted_tenant FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.deleted_tenant IS
'The register of deleted tenants. The store has it too, because a restored database does not.';
COMMENT ON COLUMN batch.deleted_tenant.is_to_repeat IS
'The database was restored from a backup that has the tenant. No batch runs until the tenant is deleted again';
COMMENT ON COLUMN batch.deleted_tenant.awaits_supplement IS
'The certificate names backups with the tenant, and the deletion of the last one was not reported to the operators yet';

CREATE TABLE batch.disputed_entry (
    tenant_id text NOT NULL,
    offboarding_id text NOT NULL,
    reason text NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    asked_in text NOT NULL,
    decided_by text,
    decided_at timestamptz,
    PRIMARY KEY (tenant_id, offboarding_id),
    CHECK ((decided_by IS null) = (decided_at IS null)),
    CHECK (batch.person_key(decided_by) <> batch.person_key(asked_by))
);
CALL batch.make_platform_table('batch.disputed_entry');
COMMENT ON TABLE batch.disputed_entry IS
'Wrong entries of the register in the store: one user reports them, another user decides. A decided entry never counts again';
COMMENT ON COLUMN batch.disputed_entry.asked_in IS 'execution_id of the run that asked for the approval';
