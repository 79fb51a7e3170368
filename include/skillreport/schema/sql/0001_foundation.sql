-- Schema batch: what the batches own. Runs as batch_owner, which nobody logs in as; the schema itself is made by the deployer.
--
-- Every table is closed by row-level security (forced, so that its owner is bound too). Two kinds exist:
--   tenant tables    carry tenant_id; batch_tenant sees and writes the rows of the transaction's tenants only
--   platform tables  belong to the few cross-tenant steps; batch_tenant has no privilege on them at all

CREATE FUNCTION batch.current_tenants() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
-- A setting that was local to a finished transaction reads as '' afterwards, not as NULL: both mean "no tenant", no rows.
-- Several tenants (a shard) are joined by the unit separator, which no tenant id may hold.
RETURN string_to_array(nullif(current_setting('batch.tenant_id', true), ''), chr(31));

COMMENT ON FUNCTION batch.current_tenants() IS
'The tenants of this transaction: set_config(''batch.tenant_id'', id, true), or several ids joined by chr(31).';

CREATE PROCEDURE batch.make_tenant_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format(
        'CREATE POLICY own_tenants ON %s TO batch_tenant '
        'USING (tenant_id = ANY ((SELECT batch.current_tenants())::text[])) '
        'WITH CHECK (tenant_id = ANY ((SELECT batch.current_tenants())::text[]))', relation);
    EXECUTE format('CREATE POLICY platform ON %s TO batch_platform USING (true) WITH CHECK (true)', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO batch_tenant, batch_platform', relation);
END;
$$;

CREATE PROCEDURE batch.make_platform_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY platform ON %s TO batch_platform USING (true) WITH CHECK (true)', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO batch_platform', relation);
END;
$$;

REVOKE EXECUTE ON PROCEDURE batch.make_tenant_table(regclass) FROM public;
REVOKE EXECUTE ON PROCEDURE batch.make_platform_table(regclass) FROM public;

GRANT USAGE ON SCHEMA batch TO batch_tenant, batch_platform;

-- Runs and what became of them ------------------------------------------------------------------------------------------

CREATE TABLE batch.execution_log (
    execution_id text PRIMARY KEY,
    batch_id text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    business_date date NOT NULL,
    dry_run boolean NOT NULL,
    parameters jsonb NOT NULL,
    execution_host text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'completed', 'partial', 'failed')),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz CHECK ((ended_at IS null) = (status = 'running')),
    total_tenants integer NOT NULL,
    success_count integer,
    error_count integer,
    result jsonb,
    error_message text
);
CREATE INDEX execution_log_by_batch ON batch.execution_log (batch_id, started_at DESC);
CREATE INDEX execution_log_running ON batch.execution_log (batch_id) WHERE status = 'running';
CALL batch.make_platform_table('batch.execution_log');
COMMENT ON TABLE batch.execution_log IS 'One row per opened run of a batch.';

CREATE TABLE batch.tenant_outcome (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    tenant_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'success', 'failed')),
    details jsonb NOT NULL DEFAULT '{}',
    notes text[] NOT NULL DEFAULT '{}',
    records bigint NOT NULL DEFAULT 0,
    error_code text,
    error_message text CHECK ((error_message IS null) = (status <> 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.tenant_outcome');
COMMENT ON TABLE batch.tenant_outcome IS
'One row per run and expected tenant; it stays pending until the tenant was processed, so that an absence shows.';

CREATE TABLE batch.task_metric (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    task_id text NOT NULL,
    map_index integer NOT NULL,
    wall_seconds numeric NOT NULL,
    cpu_seconds numeric NOT NULL,
    peak_memory_bytes bigint NOT NULL,
    PRIMARY KEY (execution_id, task_id, map_index)
);
CALL batch.make_platform_table('batch.task_metric');
COMMENT ON TABLE batch.task_metric IS 'Time and memory of each task process of a run; folded into performance_metric at its end.';

CREATE TABLE batch.performance_metric (
    execution_id text PRIMARY KEY REFERENCES batch.execution_log ON DELETE CASCADE,
    batch_id text NOT NULL,
    business_date date NOT NULL,
    execution_seconds numeric NOT NULL,
    cpu_seconds numeric NOT NULL,
    peak_memory_bytes bigint NOT NULL,
    records_processed bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX performance_metric_by_batch ON batch.performance_metric (batch_id, recorded_at DESC);
CALL batch.make_platform_table('batch.performance_metric');

-- Tenant usage (BATCH-018-01) ------------------------------------------------------------------------------------------

-- One pass over the host's logs fills it, the per-tenant step empties it. Unlogged: what a crash takes is collected again.
CREATE UNLOGGED TABLE batch.usage_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    registered_users bigint NOT NULL,
    active_users bigint NOT NULL,
    total_logins bigint NOT NULL,
    login_user_ids text[] NOT NULL,
    api_calls bigint NOT NULL,
    error_count bigint NOT NULL,
    response_time_avg_ms numeric,
    peak_concurrent_users bigint NOT NULL,
    peak_at timestamp,
    report_bytes numeric NOT NULL,
    evidence_bytes numeric NOT NULL,
    reports_generated bigint NOT NULL,
    skill_assessments bigint NOT NULL,
    notifications_sent bigint NOT NULL,
    subscription_plan text,
    max_storage_gb integer,
    setting_overrides jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.usage_signal');
COMMENT ON COLUMN batch.usage_signal.peak_at IS 'UTC, start of the hour in which most users sent requests';

CREATE TABLE batch.usage_day (
    tenant_id text NOT NULL,
    usage_date date NOT NULL,
    registered_users bigint NOT NULL,
    active_users bigint NOT NULL,
    total_logins bigint NOT NULL,
    api_calls bigint NOT NULL,
    error_count bigint NOT NULL,
    response_time_avg_ms numeric,
    peak_concurrent_users bigint NOT NULL,
    storage_bytes bigint NOT NULL,
    reports_generated bigint NOT NULL,
    skill_assessments bigint NOT NULL,
    notifications_sent bigint NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    closed_by text NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, usage_date)
);
CALL batch.make_tenant_table('batch.usage_day');
COMMENT ON TABLE batch.usage_day IS
'Closed days (Asia/Tokyo): the usage that billing accepts. A re-run that finds other figures raises the revision.';

CREATE TABLE batch.login_day (
    tenant_id text NOT NULL,
    login_date date NOT NULL,
    user_ids text[] NOT NULL,
    PRIMARY KEY (tenant_id, login_date)
);
CALL batch.make_tenant_table('batch.login_day');
COMMENT ON TABLE batch.login_day IS
'Who logged in on a day (Asia/Tokyo): the host keeps the last login only, and overwrites it with the next one.';

CREATE TABLE batch.usage_warning (
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('quota', 'surge')),
    metric text NOT NULL,
    threshold_percent numeric NOT NULL,
    window_start date NOT NULL,
    business_date date NOT NULL,
    observed numeric NOT NULL,
    reference numeric NOT NULL CHECK (reference > 0),
    audience text[] NOT NULL,
    raised_by text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, metric, threshold_percent, window_start)
);
CALL batch.make_tenant_table('batch.usage_warning');
COMMENT ON TABLE batch.usage_warning IS
'Quota warnings (window: the month) and surges (window: the day). The key makes each of them unique in its window.';

-- Which variant of the host the views were made for ---------------------------------------------------------------------

CREATE TABLE batch.deployment (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    host_variant text NOT NULL CHECK (host_variant IN ('base', 'multi_tenant')),
    revision text NOT NULL,
    deployed_at timestamptz NOT NULL
);
CALL batch.make_platform_table('batch.deployment');
CREATE POLICY deployer ON batch.deployment TO batch_owner USING (true) WITH CHECK (true);
