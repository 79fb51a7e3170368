-- Each message once: whoever asks for it again finds its key taken.
INSERT INTO batch.outbox (
    message_id,
    tenant_id,
    dedupe_key,
    channel,
    destination,
    subject,
    body,
    rich,
    priority,
    host_log_id,
    due_at,
    next_attempt_at,
    dedupe_until,
    created_by
)
SELECT
    gen_random_uuid()::text AS message_id,
    message.tenant_id,
    message.dedupe_key,
    message.channel,
    message.destination,
    message.subject,
    message.body,
    message.rich,
    message.priority,
    message.host_log_id,
    message.due_at,
    message.due_at AS next_attempt_at,
    message.dedupe_until,
    %(created_by)s
FROM
    jsonb_to_recordset(%(messages)s) AS message (
        tenant_id text,
        dedupe_key text,
        channel text,
        destination text,
        subject text,
        body text,
        rich jsonb,
        priority smallint,
        host_log_id text,
        due_at timestamptz,
        dedupe_until timestamptz
    )
ORDER BY message.tenant_id, message.dedupe_key
ON CONFLICT (tenant_id, dedupe_key) DO NOTHING
RETURNING message_id;
