-- Delivery: messages that the application withdraws, shared limits of services, and messages about several reminders.

ALTER TABLE batch.outbox
DROP CONSTRAINT outbox_status_check,
ADD CONSTRAINT outbox_status_check CHECK (
    status IN (
        'pending', 'sending', 'retry', 'sent', 'ambiguous', 'dead', 'expired', 'discarded', 'withdrawn', 'merged'
    )
),
ADD COLUMN template_key text,
ADD COLUMN most_attempts integer CHECK (most_attempts > 0);
COMMENT ON COLUMN batch.outbox.template_key IS
'The kind of a reminder, which the tenant''s settings can switch off; null: the application''s message, or a letter';
COMMENT ON COLUMN batch.outbox.most_attempts IS
'The message''s own limit of attempts, from the application''s max_retry_count; null: the channel''s';
COMMENT ON COLUMN batch.outbox.status IS
'withdrawn: the application or a setting took it back before it was sent; merged: a message about several occasions tells it';

-- What was learnt about the limits of services, by a digest of what the limit belongs to (a server's login, a token, a URL).
-- Tenants can share a mail server or a workspace, so it is no tenant's.
CREATE TABLE batch.service_limit (
    limit_key text PRIMARY KEY,
    per_minute double precision CHECK (per_minute > 0),
    at_once integer NOT NULL CHECK (at_once > 0),
    blocked_until timestamptz NOT NULL DEFAULT '-infinity',
    learnt_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The processes that send through a limit at present. They divide it among themselves.
CREATE TABLE batch.limit_sender (
    limit_key text NOT NULL,
    owner text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (limit_key, owner)
);
CALL batch.make_platform_table('batch.service_limit');
CALL batch.make_platform_table('batch.limit_sender');
CREATE POLICY senders ON batch.service_limit TO batch_tenant USING (true) WITH CHECK (true);
CREATE POLICY senders ON batch.limit_sender TO batch_tenant USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON batch.service_limit TO batch_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON batch.limit_sender TO batch_tenant;
COMMENT ON COLUMN batch.service_limit.per_minute IS 'Messages per minute of all processes together; null: as fast as possible';
COMMENT ON COLUMN batch.service_limit.at_once IS 'Connections, or parallel requests, of all processes together';
