-- Tenant usage (BATCH-018-01).

-- One pass over the host's logs fills it; the per-tenant step empties it. Unlogged: data lost in a crash is collected again.
CREATE UNLOGGED TABLE batch.usage_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    registered_users bigint NOT NULL,
    active_users bigint NOT NULL,
    total_logins bigint NOT NULL,
    login_user_ids text[] NOT NULL,
    api_calls bigint,
    error_count bigint,
    response_time_avg_ms numeric,
    peak_concurrent_users bigint,
    peak_at timestamp,
    report_bytes numeric,
    evidence_bytes numeric,
    reports_generated bigint,
    skill_assessments bigint,
    notifications_sent bigint,
    unplaced_accounts bigint NOT NULL DEFAULT 0,
    read_events bigint NOT NULL DEFAULT 0,
    unplaced_events bigint NOT NULL DEFAULT 0,
    subscription_plan text,
    max_storage_gb integer,
    setting_overrides jsonb NOT NULL,
    is_deleted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.usage_signal');
COMMENT ON TABLE batch.usage_signal IS 'Staging rows of BATCH-018-01.';
COMMENT ON COLUMN batch.usage_signal.is_deleted IS
'The application has deleted the tenant: its users belong to no tenant, so nothing of it can be counted';
COMMENT ON COLUMN batch.usage_signal.peak_at IS 'UTC, start of the hour in which most users sent requests';

CREATE TABLE batch.usage_day (
    tenant_id text NOT NULL,
    usage_date date NOT NULL,
    registered_users bigint NOT NULL,
    active_users bigint NOT NULL,
    total_logins bigint NOT NULL,
    api_calls bigint,
    error_count bigint,
    response_time_avg_ms numeric,
    peak_concurrent_users bigint,
    storage_bytes bigint,
    reports_generated bigint,
    skill_assessments bigint,
    notifications_sent bigint,
    unplaced_accounts bigint NOT NULL DEFAULT 0,
    read_events bigint NOT NULL DEFAULT 0,
    unplaced_events bigint NOT NULL DEFAULT 0,
    revision integer NOT NULL DEFAULT 1,
    closed_by text NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, usage_date)
);
-- Days possibly closed after their month's invoice: repeated, late, or the last day of the month.
CREATE INDEX usage_day_late ON batch.usage_day (tenant_id, usage_date)
WHERE revision > 1 OR (closed_at AT TIME ZONE 'Asia/Tokyo')::date > usage_date + 1 OR extract(DAY FROM usage_date + 1) = 1;
CALL batch.make_tenant_table('batch.usage_day');
CREATE POLICY board ON batch.usage_day FOR SELECT TO batch_owner USING (true);
-- Keep the inputs of invoices.
REVOKE DELETE ON batch.usage_day FROM batch_tenant, batch_platform;
COMMENT ON TABLE batch.usage_day IS
'Closed days (Asia/Tokyo): the usage that billing accepts. A new run with other figures raises the revision.';
COMMENT ON COLUMN batch.usage_day.api_calls IS 'Null where the host has no source for it, as the other figures that may be null';
COMMENT ON COLUMN batch.usage_day.unplaced_accounts IS
'Accounts whose row carries this tenant and that have no employee who decides; they are not among registered_users';
COMMENT ON COLUMN batch.usage_day.unplaced_events IS
'Events of the day with this tenant''s id whose user was not found. They are part of read_events, and not of active_users.';

CREATE TABLE batch.usage_warning (
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('quota', 'surge')),
    metric text NOT NULL,
    threshold_percent numeric NOT NULL,
    window_start date NOT NULL,
    business_date date NOT NULL,
    observed numeric NOT NULL,
    reference numeric NOT NULL CHECK (reference > 0),
    raised_by text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, metric, threshold_percent, window_start)
);
CREATE INDEX usage_warning_by_time ON batch.usage_warning (raised_at);
CALL batch.make_tenant_table('batch.usage_warning');
CREATE POLICY board ON batch.usage_warning FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.usage_warning IS
'Quota warnings (one per threshold and month) and surges (one per day).';
