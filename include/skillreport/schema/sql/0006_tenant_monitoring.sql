-- Tenant monitoring (BATCH-018-03): hourly measures, what is wrong since when, and what the operators were told of it. Moments
-- are full hours: a check at 10:00 is about the hour that ended then.

-- One pass over the application's logs fills it, the per-tenant step empties it. Unlogged: what a crash takes is collected again.
CREATE UNLOGGED TABLE batch.monitoring_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    measured_from timestamptz NOT NULL,
    measures jsonb NOT NULL,
    last_activity_at timestamptz,
    storage_bytes numeric NOT NULL,
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
COMMENT ON COLUMN batch.monitoring_signal.measures IS
'From measured_from on, the hours in which something happened; in the others nothing did';
COMMENT ON COLUMN batch.monitoring_signal.waiting_messages IS
'Hours since when each unfinished message should have gone, in our outbox and in the application''s log';

CREATE TABLE batch.hourly_measure (
    tenant_id text NOT NULL,
    hour_at timestamptz NOT NULL,
    api_calls bigint NOT NULL,
    errors bigint NOT NULL,
    responses bigint NOT NULL,
    response_ms bigint NOT NULL,
    failed_logins bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour_at)
);
CALL batch.make_tenant_table('batch.hourly_measure');
COMMENT ON TABLE batch.hourly_measure IS
'What happened in the hour that begins at hour_at, for five weeks; an hour without a row was not measured';
COMMENT ON COLUMN batch.hourly_measure.response_ms IS 'Total of the calls whose response time is known (responses)';

CREATE TABLE batch.monitored_tenant (
    tenant_id text PRIMARY KEY,
    checked_at timestamptz,
    last_activity_at timestamptz,
    recent jsonb NOT NULL DEFAULT '{}'
);
CALL batch.make_tenant_table('batch.monitored_tenant');
COMMENT ON TABLE batch.monitored_tenant IS
'Where the newest check of each tenant has left it. Two runs at once take turns by locking this row.';
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
CALL batch.make_tenant_table('batch.incident');
COMMENT ON COLUMN batch.incident.severity IS 'The highest that it has reached';
COMMENT ON COLUMN batch.incident.evidence IS 'The arithmetic of the newest breach, of the hour that ended at breached_at';
COMMENT ON COLUMN batch.incident.told IS 'What the operators believe: null nothing yet, open with a severity, or closed';
COMMENT ON COLUMN batch.incident.is_part_of_platform IS
'A platform incident was told in its place: alone it is told only if it outlasts that one';

CREATE TABLE batch.platform_check (
    check_name text PRIMARY KEY,
    checked_at timestamptz,
    recent text NOT NULL DEFAULT ''
);
CALL batch.make_platform_table('batch.platform_check');
COMMENT ON TABLE batch.platform_check IS 'The last results of each check that can concern the whole platform, over all tenants';

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
COMMENT ON TABLE batch.platform_incident IS 'Checks that so many tenants fail together that the cause is ours; always critical';

CREATE TABLE batch.orphan_notice (
    execution_id text PRIMARY KEY,
    detail text NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    told_at timestamptz
);
CALL batch.make_platform_table('batch.orphan_notice');
COMMENT ON TABLE batch.orphan_notice IS 'Runs that were closed as orphans, for the operators to read once, in the next digest';

-- What the operators have heard of BATCH-018-04's stages. Those reached before count as told: by a default, because row-level
-- security shows their owner no row that an UPDATE could find.
ALTER TABLE batch.inactivity_change ADD COLUMN told_at timestamptz DEFAULT now();
ALTER TABLE batch.inactivity_change ALTER COLUMN told_at DROP DEFAULT;
COMMENT ON COLUMN batch.inactivity_change.told_at IS
'When a digest told the operators of a stage that was reached; null: not yet. Only ''inactivity'' is told.';
