-- Tenant monitoring (BATCH-018-03): hourly measures, open problems, and reports to operators. Times are full hours: a check at
-- 10:00 covers the hour that ended then.

-- One pass over the application's logs fills it; the per-tenant step empties it. Unlogged: data lost in a crash is collected
-- again.
CREATE UNLOGGED TABLE batch.monitoring_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    measured_from timestamptz NOT NULL,
    measures jsonb NOT NULL,
    has_requests boolean NOT NULL DEFAULT true,
    has_logins boolean NOT NULL DEFAULT true,
    last_activity_at timestamptz,
    storage_bytes numeric,
    subscription_plan text,
    max_storage_gb integer,
    contract_end date,
    waiting_messages jsonb NOT NULL,
    failing_batches jsonb NOT NULL,
    monitoring_overrides jsonb NOT NULL,
    usage_overrides jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.monitoring_signal');
COMMENT ON TABLE batch.monitoring_signal IS 'Staging rows of BATCH-018-03.';
COMMENT ON COLUMN batch.monitoring_signal.measures IS
'From measured_from on, the hours in which something happened; in the others nothing did';
COMMENT ON COLUMN batch.monitoring_signal.waiting_messages IS
'Hours since when each unfinished message should have gone, in our outbox and in the application''s log';

CREATE TABLE batch.hourly_measure (
    tenant_id text NOT NULL,
    hour_at timestamptz NOT NULL,
    api_calls bigint,
    errors bigint,
    responses bigint,
    response_ms bigint,
    failed_logins bigint,
    PRIMARY KEY (tenant_id, hour_at)
);
CALL batch.make_tenant_table('batch.hourly_measure');
COMMENT ON TABLE batch.hourly_measure IS
'The measured values of a tenant per clock hour. An hour without a row was not measured.';
COMMENT ON COLUMN batch.hourly_measure.api_calls IS 'Null, as every figure: the host has no source for it';
COMMENT ON COLUMN batch.hourly_measure.response_ms IS 'Total of the calls whose response time is known (responses)';

CREATE TABLE batch.monitored_tenant (
    tenant_id text PRIMARY KEY,
    checked_at timestamptz,
    last_activity_at timestamptz,
    recent jsonb NOT NULL DEFAULT '{}'
);
CALL batch.make_tenant_table('batch.monitored_tenant');
COMMENT ON TABLE batch.monitored_tenant IS
'The state of each tenant after its newest check. Concurrent runs lock this row.';
COMMENT ON COLUMN batch.monitored_tenant.recent IS
'The last results of checks that are not all clean, oldest first: x breach, - clean; at is the newest';

CREATE TABLE batch.incident (
    tenant_id text NOT NULL,
    check_name text NOT NULL,
    opened_at timestamptz NOT NULL,
    severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
    evidence text NOT NULL,
    breached_at timestamptz NOT NULL,
    reopened integer NOT NULL DEFAULT 0,
    closed_at timestamptz,
    closed_because text CHECK (closed_because IN ('recovered', 'not_monitored')),
    told text CHECK (told IN ('warning', 'critical', 'closed')),
    told_at timestamptz,
    is_part_of_platform boolean NOT NULL DEFAULT false,
    opened_by text NOT NULL,
    PRIMARY KEY (tenant_id, check_name, opened_at),
    CHECK ((closed_at IS null) = (closed_because IS null)),
    CHECK ((told IS null) = (told_at IS null))
);
CREATE UNIQUE INDEX incident_open ON batch.incident (tenant_id, check_name) WHERE closed_at IS null;
CREATE INDEX incident_by_closing ON batch.incident (closed_at DESC);
-- Each hour reports open incidents, and closed incidents without a reported end.
CREATE INDEX incident_to_report ON batch.incident (tenant_id) WHERE closed_at IS null OR told IS DISTINCT FROM 'closed';
CALL batch.make_tenant_table('batch.incident');
CREATE POLICY board ON batch.incident FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.incident IS
'One row per incident of a tenant and check, with its beginning, its end and its severity.';
COMMENT ON COLUMN batch.incident.severity IS 'The highest that it has reached';
COMMENT ON COLUMN batch.incident.evidence IS 'The arithmetic of the newest breach, of the hour that ended at breached_at';
COMMENT ON COLUMN batch.incident.told IS 'What was reported to the operators: null nothing yet, open with a severity, or closed';
COMMENT ON COLUMN batch.incident.is_part_of_platform IS
'A platform incident was reported in its place: alone it is reported only if it outlasts that incident';

CREATE TABLE batch.platform_check (
    check_name text PRIMARY KEY,
    checked_at timestamptz,
    recent text NOT NULL DEFAULT ''
);
CALL batch.make_platform_table('batch.platform_check');
COMMENT ON TABLE batch.platform_check IS 'The last results of each check that can concern the entire platform, over all tenants';

CREATE TABLE batch.platform_incident (
    check_name text NOT NULL,
    opened_at timestamptz NOT NULL,
    evidence text NOT NULL,
    breached_at timestamptz NOT NULL,
    reopened integer NOT NULL DEFAULT 0,
    closed_at timestamptz,
    told text CHECK (told IN ('critical', 'closed')),
    told_at timestamptz,
    PRIMARY KEY (check_name, opened_at),
    CHECK ((told IS null) = (told_at IS null))
);
CREATE UNIQUE INDEX platform_incident_open ON batch.platform_incident (check_name) WHERE closed_at IS null;
CALL batch.make_platform_table('batch.platform_incident');
CREATE POLICY board ON batch.platform_incident FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.platform_incident IS
'Incidents of the entire platform: a check that many tenants fail together. They are always critical.';

-- Inactive tenants (BATCH-018-04): detected and reported, never disabled or deleted.

-- Filled and emptied like batch.monitoring_signal.
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
COMMENT ON TABLE batch.inactivity_signal IS 'Staging rows of BATCH-018-04.';
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
CREATE POLICY board ON batch.tenant_inactivity FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.tenant_inactivity IS
'The inactivity stage of each tenant on its newest judged business date (Asia/Tokyo).';
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
    told_at timestamptz,
    PRIMARY KEY (tenant_id, changed_on, from_stage, to_stage),
    CHECK (from_stage <> to_stage)
);
CREATE INDEX inactivity_change_by_time ON batch.inactivity_change (recorded_at);
CALL batch.make_tenant_table('batch.inactivity_change');
CREATE POLICY board ON batch.inactivity_change FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.inactivity_change IS
'How stages changed, by business date. Only ''inactivity'' raises one; ''settings'' are other thresholds or another contract.';
COMMENT ON COLUMN batch.inactivity_change.told_at IS
'When a digest reported the reached stage to the operators; null: not yet. Only ''inactivity'' is reported.';
