-- Messages that do not exist for these tenants, or that nobody has to decide about.
SELECT
    wanted.message_id,
    message.status
FROM unnest(%(message_ids)s::text[]) AS wanted (message_id)
LEFT JOIN batch.outbox AS message
    ON wanted.message_id = message.message_id AND message.tenant_id = any(%(tenant_ids)s)
WHERE message.message_id IS null OR message.status NOT IN ('ambiguous', 'dead', 'expired', 'retry')
ORDER BY wanted.message_id;
