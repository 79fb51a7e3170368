-- Runs, their results, and the alerts about them.

CREATE TABLE batch.execution_log (
    execution_id text PRIMARY KEY,
    batch_id text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    triggered_by text,
    attempt integer,
    version text,
    business_date date NOT NULL,
    dry_run boolean NOT NULL,
    parameters jsonb NOT NULL,
    execution_host text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'completed', 'partial', 'failed')),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz CHECK ((ended_at IS null) = (status = 'running')),
    reopened_at timestamptz,
    announced_at timestamptz,
    total_tenants integer NOT NULL,
    success_count integer,
    error_count integer,
    result jsonb,
    error_message text
);
CREATE INDEX execution_log_by_batch ON batch.execution_log (batch_id, started_at DESC);
CREATE INDEX execution_log_running ON batch.execution_log (batch_id) WHERE status = 'running';
CREATE INDEX execution_log_reopened ON batch.execution_log (reopened_at) WHERE reopened_at IS NOT null;
CREATE INDEX execution_log_by_run ON batch.execution_log (dag_id, run_id);
CREATE INDEX execution_log_by_start ON batch.execution_log (started_at DESC);
CALL batch.make_platform_table('batch.execution_log');
CREATE POLICY board ON batch.execution_log FOR SELECT TO batch_owner USING (true);
-- An approval reads when its run was first opened. A tenant's work cannot read a run's results.
CREATE POLICY opened ON batch.execution_log FOR SELECT TO batch_tenant USING (true);
GRANT SELECT (execution_id, dag_id, run_id, started_at) ON batch.execution_log TO batch_tenant;

CREATE FUNCTION batch.attempts_of(execution text) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT attempt.execution_id
    FROM batch.execution_log AS attempt
    INNER JOIN batch.execution_log AS present ON attempt.dag_id = present.dag_id AND attempt.run_id = present.run_id
    WHERE present.execution_id = attempts_of.execution
$$;
COMMENT ON FUNCTION batch.attempts_of(text) IS
'The executions of the Airflow run of this execution: a run that is cleared entirely is opened again, as another execution.';

COMMENT ON TABLE batch.execution_log IS 'One row per opened run of a batch.';
COMMENT ON COLUMN batch.execution_log.triggered_by IS 'The Airflow user who triggered the run; null for a run of the schedule';
COMMENT ON COLUMN batch.execution_log.attempt IS
'How often the Airflow run had been cleared when the row was opened or last closed';
COMMENT ON COLUMN batch.execution_log.version IS
'The version of the code that opened the run (include/skillreport/core/version.py).';
COMMENT ON COLUMN batch.execution_log.reopened_at IS
'When a cleared task began to work again on a closed run; null once close_run has closed it again';
COMMENT ON COLUMN batch.execution_log.announced_at IS
'When other DAGs were first notified that the run is complete; null: never';

CREATE TABLE batch.tenant_outcome (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    tenant_id text NOT NULL,
    part text NOT NULL DEFAULT '',
    shard integer CHECK (shard >= 0),
    status text NOT NULL CHECK (status IN ('pending', 'success', 'failed')),
    details jsonb NOT NULL DEFAULT '{}',
    notes text[] NOT NULL DEFAULT '{}',
    records bigint NOT NULL DEFAULT 0,
    error_code text,
    error_message text CHECK ((error_message IS null) = (status <> 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    has_worked boolean NOT NULL DEFAULT false,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, tenant_id, part)
);
CREATE INDEX tenant_outcome_failed ON batch.tenant_outcome (execution_id) WHERE status = 'failed';
-- Each mapped instance looks up its shard's tenants. Without this index it reads all outcomes of the run.
CREATE INDEX tenant_outcome_by_shard ON batch.tenant_outcome (execution_id, shard) WHERE shard IS NOT null;
-- BATCH-018-05 looks up the problems that it last reported for each tenant.
CREATE INDEX tenant_outcome_told ON batch.tenant_outcome (tenant_id) WHERE details ? 'toldProblems';
CALL batch.make_tenant_table('batch.tenant_outcome');
CREATE POLICY board ON batch.tenant_outcome FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.tenant_outcome IS
'One row per run, expected tenant and part. It stays pending until the tenant was processed, so a missing tenant is visible.';
COMMENT ON COLUMN batch.tenant_outcome.part IS 'Empty if a batch processes the entire tenant; the provider in BATCH-019-03';
COMMENT ON COLUMN batch.tenant_outcome.has_worked IS 'An attempt has committed the tenant''s work';
COMMENT ON COLUMN batch.tenant_outcome.shard IS 'Counted from 0 in the run; all rows of a shard have the same part';

CREATE TABLE batch.run_remark (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    step text NOT NULL,
    details jsonb NOT NULL,
    problem text,
    is_reported boolean NOT NULL DEFAULT false CHECK (problem IS NOT null OR NOT is_reported),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (execution_id, step)
);
CREATE INDEX run_remark_by_step ON batch.run_remark (step, recorded_at);
CALL batch.make_platform_table('batch.run_remark');
CREATE POLICY board ON batch.run_remark FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.run_remark IS
'The notes of a step of an entire run. A problem with is_reported makes the run partial.';

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
CREATE POLICY board ON batch.task_metric FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.task_metric IS
'Time and memory of each task process of a run. close_run adds them up in performance_metric.';

CREATE TABLE batch.performance_metric (
    execution_id text PRIMARY KEY,
    batch_id text NOT NULL,
    run_id text NOT NULL,
    business_date date NOT NULL,
    execution_seconds numeric NOT NULL,
    cpu_seconds numeric NOT NULL,
    peak_memory_bytes bigint NOT NULL,
    records_processed bigint NOT NULL,
    is_comparable boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX performance_metric_by_batch ON batch.performance_metric (batch_id, recorded_at DESC);
CALL batch.make_platform_table('batch.performance_metric');
CREATE POLICY board ON batch.performance_metric FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.performance_metric IS 'Duration, CPU time, peak memory and records of each run.';
COMMENT ON COLUMN batch.performance_metric.is_comparable IS
'The run completed at its first closing, wrote, and did the batch''s own work on all tenants: later runs are measured by it';

-- placement: as returned by batch.placement. watched and overruled are notes about assigned rows: a key of batch.known_key, and a
-- stated tenant other than the user's. no_source: the source never had a row. silent: it has none in the period; since is the day
-- (Asia/Tokyo) of its last row. is_event: accounts, and events of the period. Existing rows alone do not make a run partial,
-- because that would repeat every day.
CREATE TABLE batch.reconciliation (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    source text NOT NULL,
    placement text NOT NULL CHECK (
        placement IN (
            'person', 'stated', 'nobody', 'placeholder', 'no_employee', 'unknown_person', 'unknown_tenant',
            'watched', 'overruled', 'no_source', 'silent'
        )
    ),
    is_event boolean NOT NULL,
    row_count bigint NOT NULL,
    since date,
    PRIMARY KEY (execution_id, source, placement)
);
CALL batch.make_platform_table('batch.reconciliation');
CREATE POLICY board ON batch.reconciliation FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.reconciliation IS
'How many rows of each source a run assigned to a tenant, and how many it could not assign, by reason.';

CREATE TABLE batch.rows_scanned (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    relation text NOT NULL,
    row_count bigint NOT NULL,
    PRIMARY KEY (execution_id, relation)
);
CALL batch.make_platform_table('batch.rows_scanned');
COMMENT ON TABLE batch.rows_scanned IS
'The rows of each table of the application that the steps of a run have read, whether they used them or not';

CREATE TABLE batch.started_tick (
    batch_id text NOT NULL,
    ticked_at timestamptz NOT NULL,
    run_id text NOT NULL,
    deferral_reason text,
    PRIMARY KEY (batch_id, ticked_at)
);
CALL batch.make_platform_table('batch.started_tick');
COMMENT ON TABLE batch.started_tick IS
'The last scheduled time that started a run of a batch, and the times whose runs hold messages. BATCH-002 '
'deletes the log of executions, and keeps these rows.';
COMMENT ON COLUMN batch.started_tick.deferral_reason IS
'Why the run holds messages until users approve that the batch goes on (docs/operate/night.md); null: it sends';

CREATE TABLE batch.orphan_notice (
    execution_id text PRIMARY KEY,
    detail text NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    told_at timestamptz
);
CALL batch.make_platform_table('batch.orphan_notice');
CREATE POLICY board ON batch.orphan_notice FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.orphan_notice IS
'Runs that were closed because their Airflow run had ended, until a digest reports them.';

-- Each alert is recorded before it is sent, so that it is sent once, and later if a channel is down.
CREATE TABLE batch.operator_alert (
    alert_key text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('slack', 'email', 'http')),
    severity text NOT NULL CHECK (severity IN ('INFO', 'MEDIUM', 'HIGH', 'CRITICAL')),
    message jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    in_doubt boolean NOT NULL DEFAULT true,
    delivered_at timestamptz,
    last_error text,
    PRIMARY KEY (alert_key, channel),
    CHECK (due_at IS null OR delivered_at IS null)
);
CREATE INDEX operator_alert_due ON batch.operator_alert (due_at) WHERE due_at IS NOT null;
CREATE INDEX operator_alert_by_creation ON batch.operator_alert (created_at DESC);
CALL batch.make_platform_table('batch.operator_alert');
CREATE POLICY board ON batch.operator_alert FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.operator_alert IS
'One row per alert and channel. The key identifies the event, so each event is sent once.';
COMMENT ON COLUMN batch.operator_alert.severity IS 'INFO: the result of a run, which is no alert';
COMMENT ON COLUMN batch.operator_alert.due_at IS
'When the next attempt may be made: while somebody is sending, the end of the lease; null: delivered, or given up';
COMMENT ON COLUMN batch.operator_alert.in_doubt IS
'Nobody knows whether it has arrived: an attempt goes on, its process was killed, or its answer was lost';
