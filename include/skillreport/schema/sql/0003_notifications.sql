-- Notifications (BATCH-019): what has to reach people, once.

CREATE TABLE batch.outbox (
    message_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    dedupe_key text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'slack', 'teams', 'line_works')),
    destination text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    rich jsonb,
    priority smallint NOT NULL DEFAULT 2 CHECK (priority BETWEEN 1 AND 3),
    host_log_id text,
    mirrored_status text NOT NULL DEFAULT 'pending',
    status text NOT NULL DEFAULT 'pending' CHECK (
        status IN ('pending', 'sending', 'retry', 'sent', 'ambiguous', 'dead', 'expired', 'discarded')
    ),
    attempts smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    lease_owner text,
    lease_until timestamptz,
    provider_message_id text,
    error_code text,
    error_class text,
    error_detail text,
    decided_by text,
    reported_by text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    dedupe_until timestamptz NOT NULL DEFAULT now() + interval '90 days',
    finished_at timestamptz,
    UNIQUE (tenant_id, dedupe_key),
    CHECK ((status = 'sending') = (lease_owner IS NOT null AND lease_until IS NOT null)),
    CHECK ((status IN ('pending', 'sending', 'retry', 'ambiguous')) = (finished_at IS null))
);
CREATE INDEX outbox_due ON batch.outbox (tenant_id, channel, priority, next_attempt_at) WHERE status IN ('pending', 'retry');
CREATE INDEX outbox_leased ON batch.outbox (lease_until) WHERE status = 'sending';
CREATE INDEX outbox_unfinished ON batch.outbox (tenant_id, host_log_id) WHERE finished_at IS null;
CREATE INDEX outbox_not_mirrored ON batch.outbox (tenant_id) WHERE host_log_id IS NOT null AND mirrored_status <> status;
CREATE INDEX outbox_undelivered ON batch.outbox (tenant_id) WHERE status IN ('dead', 'expired', 'ambiguous');
CALL batch.make_tenant_table('batch.outbox');
COMMENT ON TABLE batch.outbox IS
'One row per message and destination. Claimed (sending, under a lease) and committed before the network is touched.';
COMMENT ON COLUMN batch.outbox.priority IS '1 HIGH, 2 MEDIUM, 3 LOW';
COMMENT ON COLUMN batch.outbox.mirrored_status IS 'What the application''s own row shows';
COMMENT ON COLUMN batch.outbox.dedupe_until IS
'Until then the row keeps its occasion from being told again, however long ago it was sent';
COMMENT ON COLUMN batch.outbox.reported_by IS 'The run that told the operators that nothing happens to it any more';
COMMENT ON COLUMN batch.outbox.decided_by IS 'The operator who requeued, discarded or resolved it';

CREATE TABLE batch.channel_circuit (
    tenant_id text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'slack', 'teams', 'line_works')),
    error_code text NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    reported_by text,
    PRIMARY KEY (tenant_id, channel)
);
CALL batch.make_tenant_table('batch.channel_circuit');
COMMENT ON TABLE batch.channel_circuit IS
'Channels that nothing is sent through until somebody mends them (a revoked token, a deleted workflow); the queue waits.';

CREATE TABLE batch.suppressed_address (
    tenant_id text NOT NULL,
    address text NOT NULL,
    error_code text NOT NULL,
    suppressed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, address)
);
CALL batch.make_tenant_table('batch.suppressed_address');
COMMENT ON TABLE batch.suppressed_address IS 'E-mail addresses that do not exist: writing to them again costs reputation.';

-- One pass over the application's notifications, certificates and goals fills it, the per-tenant step empties it. Unlogged: what
-- a crash takes is collected again.
CREATE UNLOGGED TABLE batch.notification_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    waiting jsonb NOT NULL,
    certificates jsonb NOT NULL,
    goals jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.notification_signal');

-- Finished notifications of the application that are old enough to be archived, found in one pass; the per-tenant step empties
-- it.
CREATE UNLOGGED TABLE batch.old_notification (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    PRIMARY KEY (execution_id, tenant_id, notification_id)
);
CALL batch.make_tenant_table('batch.old_notification');

-- Mailboxes of people who have left, collected in one pass; the per-tenant step empties it.
CREATE UNLOGGED TABLE batch.former_mailbox (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    addresses text[] NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.former_mailbox');

CREATE TABLE batch.setting_finding (
    tenant_id text NOT NULL,
    subject text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    found_on date NOT NULL,
    told_by text,
    PRIMARY KEY (tenant_id, subject, code)
);
CALL batch.make_tenant_table('batch.setting_finding');
COMMENT ON TABLE batch.setting_finding IS
'What is wrong with a tenant''s notification settings at present, since when (Asia/Tokyo): told once, when it is found.';
