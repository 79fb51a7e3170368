-- What people did, by the hour and by the key that names them, as the hourly pass over the application's logs has counted it. The
-- daily batches read these rows instead of the logs. Both tables are unlogged: a crash empties both, and then the logs are read.
CREATE UNLOGGED TABLE batch.activity_reading (
    hour_at timestamptz PRIMARY KEY,
    read_until timestamptz NOT NULL
);
CALL batch.make_platform_table('batch.activity_reading');
COMMENT ON TABLE batch.activity_reading IS
'The hours whose rows are in batch.activity_hour. read_until: the end of the newest pass that has read the hour. A row that the '
'application writes late is missing if that was at the end of the hour.';

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
    failed_logins integer NOT NULL,
    last_at_utc timestamp
);
CREATE INDEX activity_hour_by_hour ON batch.activity_hour (hour_at);
CALL batch.make_platform_table('batch.activity_hour');
COMMENT ON COLUMN batch.activity_hour.source IS 'A source of batch.all_user_action, or SYS_SystemLog';
COMMENT ON COLUMN batch.activity_hour.logins IS 'Null if none of the rows is a login';
COMMENT ON COLUMN batch.activity_hour.last_at_utc IS 'The newest row that is no failed login; null if there is none';

-- The last action of each key, so that BATCH-018-04 reads only what is new. Keys are resolved anew each night: somebody may
-- become known later, or move to another tenant. As many rows as there are people.
CREATE TABLE batch.last_action (
    person_key text,
    stated_tenant_id text,
    last_at_utc timestamp NOT NULL,
    UNIQUE NULLS NOT DISTINCT (person_key, stated_tenant_id)
);
CALL batch.make_platform_table('batch.last_action');

CREATE TABLE batch.last_action_state (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    read_until_utc timestamp NOT NULL
);
CALL batch.make_platform_table('batch.last_action_state');
COMMENT ON TABLE batch.last_action_state IS 'One row: batch.last_action has the actions before read_until_utc, a full hour';

-- How much of the application's tables a run has read.
CREATE TABLE batch.rows_scanned (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    relation text NOT NULL,
    row_count bigint NOT NULL,
    PRIMARY KEY (execution_id, relation)
);
CALL batch.make_platform_table('batch.rows_scanned');
COMMENT ON TABLE batch.rows_scanned IS
'The rows of each table of the application that the steps of a run have read, whether they used them or not';

-- A source that the application never writes is looked for once a day, because that reads all of its table.
ALTER TABLE batch.host_source
ADD COLUMN has_rows boolean NOT NULL DEFAULT true,
ADD COLUMN looked_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN last_day date;
COMMENT ON COLUMN batch.host_source.has_rows IS 'False: the source was looked for, and had no row';
COMMENT ON COLUMN batch.host_source.last_day IS
'The newest day (Asia/Tokyo) for which a run has read rows of the source; null: not known';
