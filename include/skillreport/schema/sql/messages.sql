-- Messages (BATCH-019), each sent once, and limits, stops and suppressions of sending.

-- Each deployment writes the code's channels. A removed channel keeps its row without spellings.
CREATE TABLE batch.channel (
    channel text PRIMARY KEY,
    spellings text[] NOT NULL
);
CALL batch.make_platform_table('batch.channel');
CREATE POLICY deployer ON batch.channel TO batch_owner USING (true) WITH CHECK (true);
COMMENT ON TABLE batch.channel IS
'The channels that messages are sent through, with the application''s spellings (letters in lower case). A deployment writes it.';

CREATE TABLE batch.outbox (
    message_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    dedupe_key text NOT NULL,
    channel text NOT NULL REFERENCES batch.channel,
    destination text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    rich jsonb,
    template_key text,
    language text NOT NULL DEFAULT 'ja' CHECK (language IN ('ja', 'en')),
    priority smallint NOT NULL DEFAULT 2 CHECK (priority BETWEEN 1 AND 3),
    host_log_id text,
    mirrored_status text NOT NULL DEFAULT 'pending',
    status text NOT NULL DEFAULT 'pending' CHECK (
        status IN (
            'pending', 'sending', 'retry', 'sent', 'ambiguous', 'dead', 'expired', 'discarded', 'withdrawn', 'merged'
        )
    ),
    attempts smallint NOT NULL DEFAULT 0,
    most_attempts integer CHECK (most_attempts > 0),
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
    deferred_for text,
    UNIQUE (tenant_id, dedupe_key),
    CHECK ((status = 'sending') = (lease_owner IS NOT null AND lease_until IS NOT null)),
    CHECK ((status IN ('pending', 'sending', 'retry', 'ambiguous')) = (finished_at IS null)),
    CHECK (deferred_for IS null OR status IN ('pending', 'retry'))
);
CREATE INDEX outbox_due ON batch.outbox (tenant_id, channel, priority, next_attempt_at) WHERE status IN ('pending', 'retry');
CREATE INDEX outbox_leased ON batch.outbox (lease_until) WHERE status = 'sending';
CREATE INDEX outbox_unfinished ON batch.outbox (tenant_id, host_log_id) WHERE finished_at IS null;
CREATE INDEX outbox_not_mirrored ON batch.outbox (tenant_id) WHERE host_log_id IS NOT null AND mirrored_status <> status;
CREATE INDEX outbox_undelivered ON batch.outbox (tenant_id) WHERE status IN ('dead', 'expired', 'ambiguous');
CREATE INDEX outbox_sent_with_report ON batch.outbox (tenant_id) WHERE status = 'sent' AND error_code IS NOT null;
CREATE INDEX outbox_deferred ON batch.outbox (deferred_for) WHERE deferred_for IS NOT null;
CREATE INDEX outbox_by_tenant ON batch.outbox (tenant_id, created_at DESC);
CREATE INDEX outbox_open ON batch.outbox (status, channel, next_attempt_at)
WHERE status NOT IN ('sent', 'discarded', 'withdrawn', 'merged');
CALL batch.make_tenant_table('batch.outbox');
CREATE POLICY board ON batch.outbox FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.outbox IS
'One row per message and destination. A sender claims a message under a lease and commits before it uses the network.';
COMMENT ON COLUMN batch.outbox.template_key IS
'The kind of a reminder, which the tenant''s settings can switch off, or of a letter to its users; null: another message';
COMMENT ON COLUMN batch.outbox.language IS 'The language of the signature, if it is an e-mail';
COMMENT ON COLUMN batch.outbox.priority IS '1 HIGH, 2 MEDIUM, 3 LOW';
COMMENT ON COLUMN batch.outbox.mirrored_status IS 'What the application''s own row shows';
COMMENT ON COLUMN batch.outbox.status IS
'withdrawn: the application or a setting took it back before it was sent; merged: a message about several events contains it';
COMMENT ON COLUMN batch.outbox.most_attempts IS
'The message''s own limit of attempts, from the application''s max_retry_count; null: the channel''s';
COMMENT ON COLUMN batch.outbox.decided_by IS 'The operator who requeued, discarded or resolved it';
COMMENT ON COLUMN batch.outbox.reported_by IS 'The run that reported to the operators that nothing happens to it any more';
COMMENT ON COLUMN batch.outbox.deferred_for IS
'The paused batch: the message is not sent until users have approved that the batch goes on; null: it is not deferred';
COMMENT ON COLUMN batch.outbox.dedupe_until IS
'Until then the row prevents a second message about its event, however long ago it was sent';

CREATE TABLE batch.channel_circuit (
    tenant_id text NOT NULL,
    channel text NOT NULL REFERENCES batch.channel,
    error_code text NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    reported_by text,
    PRIMARY KEY (tenant_id, channel)
);
CALL batch.make_tenant_table('batch.channel_circuit');
CREATE POLICY board ON batch.channel_circuit FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.channel_circuit IS
'Channels that are closed until somebody repairs them (for example a revoked token). Their messages wait.';

CREATE TABLE batch.message_stop (
    tenant_id text PRIMARY KEY,
    still_sent text[] NOT NULL,
    reason text NOT NULL,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT now()
);
CALL batch.make_tenant_table('batch.message_stop');
CREATE POLICY board ON batch.message_stop FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.message_stop IS
'Tenants whose messages an operator has stopped. What waits is kept, and is neither sent nor given up until they are resumed.';
COMMENT ON COLUMN batch.message_stop.still_sent IS
'The kinds (template_key) that are sent nevertheless: contract letters, or none';

CREATE TABLE batch.suppressed_address (
    tenant_id text NOT NULL,
    address text NOT NULL,
    reason text NOT NULL DEFAULT 'bounce' CHECK (reason IN ('bounce', 'complaint', 'unsubscribe')),
    error_code text NOT NULL,
    bounces integer NOT NULL DEFAULT 1,
    suppressed_at timestamptz NOT NULL DEFAULT now(),
    suppressed_until timestamptz,
    bounced_until timestamptz,
    accepted_message_id text,
    accepted_at timestamptz,
    PRIMARY KEY (tenant_id, address),
    CHECK ((accepted_message_id IS null) = (accepted_at IS null)),
    CHECK (bounced_until IS null OR reason = 'unsubscribe')
);
CREATE INDEX suppressed_address_by_end ON batch.suppressed_address (suppressed_until) WHERE suppressed_until IS NOT null;
CALL batch.make_tenant_table('batch.suppressed_address');
CREATE POLICY board ON batch.suppressed_address FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.suppressed_address IS
'E-mail addresses that get no mail: after a bounce for a time, after three bounces or a complaint for good.';
COMMENT ON COLUMN batch.suppressed_address.bounces IS 'Bounces in a row, at most one per suppression';
COMMENT ON COLUMN batch.suppressed_address.suppressed_at IS 'Begin of the present suppression';
COMMENT ON COLUMN batch.suppressed_address.suppressed_until IS 'Null: for good. In the past: mail is sent again';
COMMENT ON COLUMN batch.suppressed_address.bounced_until IS
'The address has unsubscribed, and its mails bounce: until then it gets no contract letter either; infinity: for good';
COMMENT ON COLUMN batch.suppressed_address.accepted_message_id IS
'The first message that a mail server accepted after the suppression. If it does not bounce later, the row of bounces ends.';

-- Learnt limits of services, by a digest of the limit's subject (a server's login, a token, a URL). Tenants can share a mail
-- server or a workspace, so a limit belongs to no tenant.
CREATE TABLE batch.service_limit (
    limit_key text PRIMARY KEY,
    per_minute double precision CHECK (per_minute > 0),
    at_once integer NOT NULL CHECK (at_once > 0),
    -- A time in the past. Before PostgreSQL 17, nothing can be subtracted from an infinite time.
    blocked_until timestamptz NOT NULL DEFAULT 'epoch',
    learnt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    closed_reason text,
    refusals jsonb NOT NULL DEFAULT '[]',
    accepted_at timestamptz,
    doubted_from timestamptz,
    doubted_until timestamptz,
    CHECK ((closed_at IS null) = (closed_reason IS null)),
    CHECK ((doubted_from IS null) = (doubted_until IS null))
);
CALL batch.make_platform_table('batch.service_limit');
CREATE POLICY senders ON batch.service_limit TO batch_tenant USING (true) WITH CHECK (true);
CREATE POLICY board ON batch.service_limit FOR SELECT TO batch_owner USING (true);
GRANT SELECT, INSERT, UPDATE ON batch.service_limit TO batch_tenant;
COMMENT ON TABLE batch.service_limit IS
'The rate and the concurrency that each external service allows, as its answers showed, and until when it refuses.';
COMMENT ON COLUMN batch.service_limit.per_minute IS 'Messages per minute of all processes together; null: as fast as possible';
COMMENT ON COLUMN batch.service_limit.at_once IS 'Connections, or parallel requests, of all processes together';
COMMENT ON COLUMN batch.service_limit.closed_at IS
'Since when the service refuses the installation (relay, sender, a login that is missing, network address). After blocked_until '
'one message is sent as a probe.';
COMMENT ON COLUMN batch.service_limit.refusals IS
'Refusals of letters since the last accepted one, with digests of tenant and domain: of one recipient, or of the installation';
COMMENT ON COLUMN batch.service_limit.accepted_at IS
'When the installation''s mail server last accepted a letter; a refusal of one tenant then says nothing about the installation';
COMMENT ON COLUMN batch.service_limit.doubted_from IS
'Letters that the service refused for good from then until doubted_until are sent again: it refused the installation';
COMMENT ON COLUMN batch.service_limit.closed_reason IS 'The service''s answer, in Japanese for operators; nothing of a tenant';

CREATE TABLE batch.limit_sender (
    limit_key text NOT NULL,
    owner text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (limit_key, owner)
);
CALL batch.make_platform_table('batch.limit_sender');
CREATE POLICY senders ON batch.limit_sender TO batch_tenant USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON batch.limit_sender TO batch_tenant;
COMMENT ON TABLE batch.limit_sender IS 'The processes that send through a limit at present. They share its rate.';

-- One pass over the application's notifications, certificates and goals fills it; the per-tenant step empties it. Unlogged: data
-- lost in a crash is collected again.
CREATE UNLOGGED TABLE batch.notification_signal (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    waiting jsonb NOT NULL,
    certificates jsonb NOT NULL,
    goals jsonb NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.notification_signal');
COMMENT ON TABLE batch.notification_signal IS 'Staging rows of BATCH-019-01.';

-- Finished notifications of the application to archive. One pass fills it; the per-tenant step empties it.
CREATE UNLOGGED TABLE batch.old_notification (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    PRIMARY KEY (execution_id, tenant_id, notification_id)
);
CALL batch.make_tenant_table('batch.old_notification');
COMMENT ON TABLE batch.old_notification IS 'Staging rows of BATCH-019-04.';

-- Mailboxes of former employees. Filled and emptied like notification_signal.
CREATE UNLOGGED TABLE batch.former_mailbox (
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    addresses text[] NOT NULL,
    PRIMARY KEY (execution_id, tenant_id)
);
CALL batch.make_tenant_table('batch.former_mailbox');
COMMENT ON TABLE batch.former_mailbox IS 'Staging rows of BATCH-019-05: mail addresses of former employees.';

CREATE TABLE batch.setting_finding (
    tenant_id text NOT NULL,
    subject text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    english text NOT NULL,
    found_on date NOT NULL,
    told_by text,
    PRIMARY KEY (tenant_id, subject, code)
);
CALL batch.make_tenant_table('batch.setting_finding');
CREATE POLICY board ON batch.setting_finding FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.setting_finding IS
'What is wrong with the notification settings of a tenant, and since when (Asia/Tokyo). Each finding is sent once.';
COMMENT ON COLUMN batch.setting_finding.english IS 'The sentence of a letter in English, which detail is not';
