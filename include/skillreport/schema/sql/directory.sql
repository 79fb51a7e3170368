-- Directory synchronisation (BATCH-019-03).

-- The results of a running listing. All tables are unlogged: a crash removes pages and progress together.

CREATE UNLOGGED TABLE batch.directory_listing (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    step text,
    cursor text NOT NULL DEFAULT '',
    pages integer NOT NULL DEFAULT 0,
    delta_link text NOT NULL DEFAULT '',
    started_over text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, tenant_id, provider)
);
CALL batch.make_tenant_table('batch.directory_listing');
COMMENT ON TABLE batch.directory_listing IS 'The progress of a directory listing: its cursor and its pages.';
COMMENT ON COLUMN batch.directory_listing.step IS 'What is read next, from cursor on; null once the listing is complete';
COMMENT ON COLUMN batch.directory_listing.started_over IS 'Why the listing had to begin again; empty if it did not';

CREATE UNLOGGED TABLE batch.listed_account (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    provider text NOT NULL,
    external_id text NOT NULL,
    email text,
    is_email_verified boolean NOT NULL,
    employee_code text,
    display_name text,
    kind text NOT NULL,
    state text NOT NULL,
    is_contradictory boolean NOT NULL DEFAULT false,
    PRIMARY KEY (execution_id, tenant_id, provider, external_id)
);
CALL batch.make_tenant_table('batch.listed_account');
COMMENT ON TABLE batch.listed_account IS 'Staging rows of BATCH-019-03: the accounts of a listing.';
COMMENT ON COLUMN batch.listed_account.is_contradictory IS
'The listing has this account several times, with different values. The account changes nothing';

CREATE UNLOGGED TABLE batch.listed_channel (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    provider text NOT NULL,
    external_id text NOT NULL,
    parent_id text,
    name text,
    kind text NOT NULL,
    is_archived boolean NOT NULL,
    PRIMARY KEY (execution_id, tenant_id, provider, external_id)
);
CALL batch.make_tenant_table('batch.listed_channel');
COMMENT ON TABLE batch.listed_channel IS 'Staging rows of BATCH-019-03: the channels of a listing.';

-- The last applied state, and every plan and change.

CREATE TABLE batch.directory_sync (
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    delta_link text NOT NULL DEFAULT '',
    synced_on date,
    synced_by text,
    plan_hash text,
    PRIMARY KEY (tenant_id, provider)
);
CALL batch.make_tenant_table('batch.directory_sync');
CREATE POLICY board ON batch.directory_sync FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.directory_sync IS
'When each directory was last applied, and the state that its changes are read from. Concurrent runs lock this row.';

CREATE TABLE batch.directory_account (
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    external_id text NOT NULL,
    email text,
    is_email_verified boolean NOT NULL,
    employee_code text,
    display_name text,
    kind text NOT NULL CHECK (kind IN ('member', 'guest', 'bot')),
    state text NOT NULL CHECK (state IN ('active', 'suspended', 'pending', 'on_leave', 'deleted')),
    PRIMARY KEY (tenant_id, provider, external_id)
);
CALL batch.make_tenant_table('batch.directory_account');
COMMENT ON TABLE batch.directory_account IS 'The accounts of the last listing that was applied.';

CREATE TABLE batch.directory_channel (
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    external_id text NOT NULL,
    parent_id text,
    name text,
    kind text NOT NULL,
    is_archived boolean NOT NULL,
    absent_on date,
    is_absence_doubtful boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, provider, external_id),
    CHECK (absent_on IS NOT null OR NOT is_absence_doubtful)
);
CALL batch.make_tenant_table('batch.directory_channel');
COMMENT ON TABLE batch.directory_channel IS
'The channels of the last listing that was applied, and those that were absent from it for the first time.';
COMMENT ON COLUMN batch.directory_channel.absent_on IS
'The day of the first complete listing without it; null: it is there. Doubtful: that listing was held';

CREATE TABLE batch.account_link (
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    external_id text NOT NULL,
    employee_id text NOT NULL,
    matched_by text NOT NULL CHECK (matched_by IN ('employee_code', 'email', 'operator')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    absent_on date,
    is_absence_doubtful boolean NOT NULL DEFAULT false,
    linked_on date NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (tenant_id, provider, external_id),
    CHECK (absent_on IS NOT null OR NOT is_absence_doubtful)
);
CREATE UNIQUE INDEX account_link_of_employee ON batch.account_link (tenant_id, provider, employee_id) WHERE status = 'active';
CALL batch.make_tenant_table('batch.account_link');
CREATE POLICY board ON batch.account_link FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.account_link IS
'Which account of an external service belongs to which employee. An operator settles ambiguous accounts (matched_by operator).';
COMMENT ON COLUMN batch.account_link.absent_on IS
'The day of the first complete listing without the account; null: it is there. Doubtful: that listing was held';

CREATE TABLE batch.sync_plan (
    tenant_id text NOT NULL,
    provider text NOT NULL REFERENCES batch.channel,
    execution_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('planned', 'applied', 'held', 'skipped')),
    plan_hash text NOT NULL,
    world_hash text NOT NULL,
    entries jsonb NOT NULL,
    problems jsonb NOT NULL,
    counts jsonb NOT NULL,
    reason text NOT NULL DEFAULT '',
    planned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, provider, execution_id)
);
CREATE INDEX sync_plan_by_execution ON batch.sync_plan (execution_id) WHERE status = 'held';
-- Recently skipped directories among the plans of every night. Held plans have their own index.
CREATE INDEX sync_plan_skipped ON batch.sync_plan (planned_at DESC) WHERE status = 'skipped';
CREATE INDEX sync_plan_by_time ON batch.sync_plan (planned_at);
CALL batch.make_tenant_table('batch.sync_plan');
CREATE POLICY board ON batch.sync_plan FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.sync_plan IS
'The plan of each run of BATCH-019-03, entry by entry: applied, planned (dry run), held or skipped, with the reason.';
COMMENT ON COLUMN batch.sync_plan.world_hash IS
'Of the links, the listing, the employees, the channels and the notification settings that the plan was made from';

CREATE TABLE batch.directory_change (
    tenant_id text NOT NULL,
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    provider text NOT NULL,
    execution_id text NOT NULL,
    kind text NOT NULL CHECK (
        kind IN (
            'link', 'relink', 'update', 'deactivate',
            'channel_renamed', 'channel_archived', 'channel_unarchived', 'channel_vanished', 'disable_setting'
        )
    ),
    subject_id text NOT NULL,
    employee_id text,
    reason text NOT NULL,
    before jsonb,
    after jsonb,
    plan_hash text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, change_id)
);
CREATE INDEX directory_change_by_subject ON batch.directory_change (tenant_id, provider, subject_id);
CREATE INDEX directory_change_by_time ON batch.directory_change (changed_at);
CALL batch.make_tenant_table('batch.directory_change');
COMMENT ON TABLE batch.directory_change IS
'Every change of a link, a channel or a notification setting: what it was, what it became, why, by which run.';
COMMENT ON COLUMN batch.directory_change.subject_id IS
'The account''s or the channel''s id at its service, or MST_NotificationSettings.id';
