-- Daily statistics (BATCH-003) and the monthly report based on them (BATCH-004). Days are Asia/Tokyo.

-- The figures of a tenant and day, copied into the two tables below.
CREATE TABLE batch.statistics_figures (
    users_total bigint NOT NULL,
    users_active bigint NOT NULL,
    users_new bigint NOT NULL,
    logins bigint NOT NULL,
    api_calls bigint,
    api_errors bigint,
    reports_generated bigint,
    skill_assessments bigint,
    notifications_sent bigint,
    storage_bytes bigint,
    employees bigint NOT NULL,
    skill_records bigint NOT NULL,
    rated_records bigint NOT NULL,
    rated_people bigint NOT NULL,
    level_sum bigint NOT NULL,
    coverage_met bigint NOT NULL,
    coverage_target bigint NOT NULL,
    required_people bigint NOT NULL,
    goals_not_started bigint NOT NULL,
    goals_in_progress bigint NOT NULL,
    goals_completed bigint NOT NULL,
    goals_other bigint NOT NULL,
    certificates_held bigint NOT NULL,
    certificates_expiring bigint NOT NULL,
    certificates_expired bigint NOT NULL,
    trainings_completed bigint NOT NULL,
    training_hours numeric NOT NULL,
    unplaced_accounts bigint NOT NULL DEFAULT 0,
    unplaced_events bigint NOT NULL DEFAULT 0
);

-- One pass over the application's tables fills it; the per-tenant step empties it. Unlogged: data lost in a crash is read again.
CREATE UNLOGGED TABLE batch.statistics_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    LIKE batch.statistics_figures INCLUDING DEFAULTS,
    skill_groups jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.statistics_signal');
COMMENT ON TABLE batch.statistics_signal IS 'Staging rows of BATCH-003.';

CREATE TABLE batch.statistics_day (
    tenant_id text NOT NULL,
    statistics_date date NOT NULL,
    LIKE batch.statistics_figures INCLUDING DEFAULTS,
    api_error_rate numeric GENERATED ALWAYS AS (api_errors * 100.0 / nullif(api_calls, 0)) STORED,
    mean_level numeric GENERATED ALWAYS AS (level_sum * 1.0 / nullif(rated_records, 0)) STORED,
    coverage_rate numeric GENERATED ALWAYS AS (coverage_met * 100.0 / nullif(coverage_target, 0)) STORED,
    revision integer NOT NULL DEFAULT 1,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, statistics_date)
);
DROP TABLE batch.statistics_figures;
CREATE INDEX statistics_day_by_date ON batch.statistics_day (statistics_date);
CALL batch.make_tenant_table('batch.statistics_day');
COMMENT ON TABLE batch.statistics_day IS
'The statistics of a tenant and day (Asia/Tokyo). A new run with other figures raises the revision.';
COMMENT ON COLUMN batch.statistics_day.api_calls IS
'Null where the host has no source for it, as the other figures that may be null';
COMMENT ON COLUMN batch.statistics_day.rated_people IS
'The number of people with levels in mean_level. Below five, mean_level is not published; the same holds for required_people '
'and coverage_rate';
COMMENT ON COLUMN batch.statistics_day.required_people IS 'People of whom their job types require skills';
COMMENT ON COLUMN batch.statistics_day.trainings_completed IS 'All that had ended by the day, as training_hours';
COMMENT ON COLUMN batch.statistics_day.api_error_rate IS 'Percent; null on a day without calls';
COMMENT ON COLUMN batch.statistics_day.coverage_rate IS
'Percent of the required levels that people have; null where nothing is required';

-- The row with is_rest joins the smaller groups with enough others, so that the day's total does not reveal them.
CREATE TABLE batch.statistics_group (
    tenant_id text NOT NULL,
    statistics_date date NOT NULL,
    dimension text NOT NULL CHECK (dimension IN ('category', 'department')),
    group_key text NOT NULL,
    is_rest boolean NOT NULL,
    group_name text,
    people bigint NOT NULL CHECK (people >= 5),
    records bigint NOT NULL,
    level_sum bigint NOT NULL,
    level_1 bigint NOT NULL,
    level_2 bigint NOT NULL,
    level_3 bigint NOT NULL,
    level_4 bigint NOT NULL,
    level_5 bigint NOT NULL,
    mean_level numeric GENERATED ALWAYS AS (level_sum * 1.0 / nullif(records, 0)) STORED,
    PRIMARY KEY (tenant_id, statistics_date, dimension, group_key, is_rest)
);
CREATE INDEX statistics_group_by_date ON batch.statistics_group (statistics_date);
-- Groups of a month's last day are kept while the month's report can be created again.
CREATE INDEX statistics_group_mid_month ON batch.statistics_group (statistics_date)
WHERE extract(DAY FROM statistics_date + 1) <> 1;
CALL batch.make_tenant_table('batch.statistics_group');
COMMENT ON TABLE batch.statistics_group IS
'Skills by category and department. No row counts fewer than five people; smaller groups are joined in the row with is_rest.';
COMMENT ON COLUMN batch.statistics_group.group_key IS 'The code; empty: of people or skills that have none, or the rest';
COMMENT ON COLUMN batch.statistics_group.level_5 IS 'Level 5 and above';

-- A tenant's users for the list in its report. Unlogged as above.
CREATE UNLOGGED TABLE batch.report_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    setting_overrides jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.report_signal');
COMMENT ON TABLE batch.report_signal IS 'Staging rows of BATCH-004: counts.';

CREATE UNLOGGED TABLE batch.report_person (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    employee_id text NOT NULL,
    employee_code text,
    full_name text,
    department_name text,
    has_account boolean NOT NULL,
    last_login_on date,
    PRIMARY KEY (execution_id, tenant_id, employee_id)
);
CALL batch.make_tenant_table('batch.report_person');
COMMENT ON TABLE batch.report_person IS 'Staging rows of BATCH-004: people.';
COMMENT ON COLUMN batch.report_person.last_login_on IS 'Up to the end of the month that is reported';

CREATE TABLE batch.monthly_report (
    tenant_id text NOT NULL,
    report_month date NOT NULL CHECK (extract(DAY FROM report_month) = 1),
    contents jsonb NOT NULL,
    missing_days integer NOT NULL,
    recipients text[] NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, report_month)
);
CALL batch.make_tenant_table('batch.monthly_report');
CREATE POLICY board ON batch.monthly_report FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.monthly_report IS
'The figures of a monthly report. Workbook, PDF and letter are made from contents, so they show the same figures.';
COMMENT ON COLUMN batch.monthly_report.recipients IS 'The users whom the tenant wants to notify; empty: its administrator';

CREATE TABLE batch.monthly_report_file (
    tenant_id text NOT NULL,
    report_month date NOT NULL,
    format text NOT NULL CHECK (format IN ('excel', 'pdf')),
    location text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, report_month, format)
);
CALL batch.make_tenant_table('batch.monthly_report_file');
CREATE POLICY board ON batch.monthly_report_file FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.monthly_report_file IS 'The files of the monthly reports in the object store.';
