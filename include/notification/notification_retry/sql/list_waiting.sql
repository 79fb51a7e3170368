-- Addresses and texts are nobody's business here: a message is known by its id and by the application's row.
SELECT
    message.tenant_id,
    message.message_id,
    message.channel,
    message.status,
    message.attempts,
    message.next_attempt_at,
    message.error_detail,
    message.host_log_id,
    circuit.reason AS closed_because
FROM batch.outbox AS message
LEFT JOIN batch.channel_circuit AS circuit
    ON message.tenant_id = circuit.tenant_id AND message.channel = circuit.channel
WHERE message.status IN ('pending', 'sending', 'retry', 'ambiguous', 'dead')
ORDER BY message.tenant_id, message.status, message.next_attempt_at, message.message_id
LIMIT %(count)s;
