-- Settings synchronisation (BATCH-018-05). These tables contain only keys named in plan_settings.yaml, never keys about security,
-- authentication, passwords, billing or payment.

CREATE TABLE batch.setting_plan (
    tenant_id text PRIMARY KEY,
    plan text,
    since date,
    recorded_by text NOT NULL,
    CHECK ((plan IS null) = (since IS null))
);
CALL batch.make_tenant_table('batch.setting_plan');
COMMENT ON TABLE batch.setting_plan IS
'The plan whose settings a tenant has; null if it is unknown. Concurrent runs lock this row.';

CREATE TABLE batch.applied_setting (
    tenant_id text NOT NULL,
    setting_key text NOT NULL,
    value text NOT NULL,
    source text NOT NULL CHECK (source IN ('plan', 'contract')),
    applied_on date NOT NULL,
    applied_by text NOT NULL,
    PRIMARY KEY (tenant_id, setting_key)
);
CALL batch.make_tenant_table('batch.applied_setting');
COMMENT ON TABLE batch.applied_setting IS
'The value of each setting when BATCH-018-05 last applied it. A different current value was set by another user.';

CREATE TABLE batch.setting_change (
    tenant_id text NOT NULL,
    setting_key text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    execution_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('inserted', 'revived', 'updated')),
    old_value text,
    old_modified_by text,
    new_value text NOT NULL,
    old_applied_value text,
    old_applied_source text CHECK (old_applied_source IN ('plan', 'contract')),
    reason text NOT NULL,
    changed_by text NOT NULL,
    undone_by text,
    undone_at timestamptz,
    PRIMARY KEY (tenant_id, setting_key, changed_at),
    CHECK ((old_applied_value IS null) = (old_applied_source IS null)),
    CHECK ((undone_by IS null) = (undone_at IS null))
);
CREATE INDEX setting_change_by_execution ON batch.setting_change (execution_id);
CREATE INDEX setting_change_by_time ON batch.setting_change (changed_at);
CREATE INDEX setting_change_undone ON batch.setting_change (tenant_id, setting_key) WHERE undone_by IS NOT null;
CALL batch.make_tenant_table('batch.setting_change');
CREATE POLICY board ON batch.setting_change FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.setting_change IS 'Each setting that BATCH-018-05 wrote: old value, new value, reason, run.';
COMMENT ON COLUMN batch.setting_change.kind IS
'inserted: there was no row; revived: there was a deleted one; updated: it had the value last applied';
COMMENT ON COLUMN batch.setting_change.undone_by IS 'The run that took it back; the same value is not applied again';
