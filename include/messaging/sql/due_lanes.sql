-- Tenants and channels that have something due, closed channels left out.
SELECT DISTINCT
    message.tenant_id,
    message.channel
FROM batch.outbox AS message
WHERE
    message.status = any(%(statuses)s) AND message.next_attempt_at <= %(now)s
    AND NOT EXISTS (
        SELECT FROM batch.channel_circuit AS circuit
        WHERE circuit.tenant_id = message.tenant_id AND circuit.channel = message.channel
    )
ORDER BY message.tenant_id, message.channel;
