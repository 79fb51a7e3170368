-- User activity, as runs have read it from the application's logs.

-- The hourly pass over the application's logs counts by hour and by user key. The daily batches read these rows instead of the
-- logs. A row that the application writes late is missing if read_until was at the end of the hour. Both tables are unlogged:
-- after a crash they are empty, and the logs are read.
CREATE UNLOGGED TABLE batch.activity_reading (
    hour_at timestamptz PRIMARY KEY,
    read_until timestamptz NOT NULL
);
CALL batch.make_platform_table('batch.activity_reading');
COMMENT ON TABLE batch.activity_reading IS
'The hours that batch.activity_hour contains. read_until is the end of the newest pass that read the hour.';

CREATE UNLOGGED TABLE batch.activity_hour (
    hour_at timestamptz NOT NULL,
    source text NOT NULL,
    person_key text,
    stated_tenant_id text,
    row_count integer NOT NULL,
    calls integer NOT NULL,
    errors integer NOT NULL,
    timed_calls integer NOT NULL,
    response_ms bigint,
    logins integer,
    last_at_utc timestamp
);
CREATE INDEX activity_hour_by_hour ON batch.activity_hour (hour_at);
-- For the check if a user has ever logged in. If the application writes no logins, every run would read all hours.
CREATE INDEX activity_hour_with_logins ON batch.activity_hour (hour_at) WHERE logins > 0 OR last_at_utc IS null;
CALL batch.make_platform_table('batch.activity_hour');
COMMENT ON TABLE batch.activity_hour IS
'User activity per clock hour, as BATCH-018-03 read it from the logs. BATCH-003 and BATCH-018-01 reuse it.';
COMMENT ON COLUMN batch.activity_hour.source IS 'A source of batch.all_logged_action, or SYS_SystemLog';
COMMENT ON COLUMN batch.activity_hour.logins IS 'Null if none of the rows is a login';
COMMENT ON COLUMN batch.activity_hour.last_at_utc IS 'The newest row; null for failed logins, which are no activity';

-- The last action of each key, so that BATCH-018-04 reads only new rows. Keys are resolved every night: a user may become known
-- later, or move to another tenant. The table has about one row per user.
CREATE TABLE batch.last_action (
    person_key text,
    stated_tenant_id text,
    last_at_utc timestamp NOT NULL,
    UNIQUE NULLS NOT DISTINCT (person_key, stated_tenant_id)
);
CALL batch.make_platform_table('batch.last_action');
COMMENT ON TABLE batch.last_action IS 'The last action per user key and stated tenant (UTC), for BATCH-018-04.';

CREATE TABLE batch.last_action_state (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    read_until_utc timestamp NOT NULL
);
CALL batch.make_platform_table('batch.last_action_state');
COMMENT ON TABLE batch.last_action_state IS 'One row: batch.last_action has the actions before read_until_utc, a full hour';

CREATE TABLE batch.login_day (
    tenant_id text NOT NULL,
    login_date date NOT NULL,
    user_ids text[] NOT NULL,
    PRIMARY KEY (tenant_id, login_date)
);
CREATE INDEX login_day_by_date ON batch.login_day (login_date);
CALL batch.make_tenant_table('batch.login_day');
COMMENT ON TABLE batch.login_day IS
'Who logged in on a day (Asia/Tokyo). The application keeps only the last login of an account.';
COMMENT ON COLUMN batch.login_day.user_ids IS 'batch.all_person_key.person_id';
