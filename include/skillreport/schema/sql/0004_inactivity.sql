-- Inactive tenants (BATCH-018-04): noticed and told, never switched off or deleted.

-- One pass over the application's logs fills it, the per-tenant step empties it. Unlogged: what a crash takes is collected again.
CREATE UNLOGGED TABLE batch.inactivity_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    last_activity_on date,
    is_active_later boolean NOT NULL,
    created_on date NOT NULL,
    contract_start date,
    is_trial boolean NOT NULL,
    setting_overrides jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.inactivity_signal');
COMMENT ON COLUMN batch.inactivity_signal.is_active_later IS
'Somebody was active after the business date, up to the day on which the run is done';

CREATE TABLE batch.tenant_inactivity (
    tenant_id text PRIMARY KEY,
    stage text NOT NULL CHECK (stage IN ('none', 'attention', 'warning', 'critical')),
    last_activity_on date,
    inactive_since date NOT NULL,
    judged_on date NOT NULL,
    entered_on date NOT NULL,
    entered_by text NOT NULL
);
CALL batch.make_tenant_table('batch.tenant_inactivity');
COMMENT ON TABLE batch.tenant_inactivity IS
'Each tenant''s stage as of the newest business date that was judged. Days are Asia/Tokyo.';
COMMENT ON COLUMN batch.tenant_inactivity.last_activity_on IS
'Remembered, because the application''s logs are cleaned and its last login is overwritten; null: nobody ever';
COMMENT ON COLUMN batch.tenant_inactivity.inactive_since IS
'The day that is counted from: of the last activity, or else of the contract''s start; not before the tenant''s creation';

CREATE TABLE batch.inactivity_change (
    tenant_id text NOT NULL,
    changed_on date NOT NULL,
    from_stage text NOT NULL CHECK (from_stage IN ('none', 'attention', 'warning', 'critical')),
    to_stage text NOT NULL CHECK (to_stage IN ('none', 'attention', 'warning', 'critical')),
    reason text NOT NULL CHECK (reason IN ('inactivity', 'activity', 'excluded', 'settings')),
    inactive_days integer NOT NULL,
    inactive_since date NOT NULL,
    last_activity_on date,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, changed_on, from_stage, to_stage),
    CHECK (from_stage <> to_stage)
);
CALL batch.make_tenant_table('batch.inactivity_change');
COMMENT ON TABLE batch.inactivity_change IS
'How stages changed, by business date. Only ''inactivity'' raises one; ''settings'' are other thresholds or another contract.';
