-- Addresses and texts are nobody's business here: a message is known by its id and by the application's row. Those that somebody
-- has to decide about come first.
SELECT *
FROM (
    SELECT
        message.tenant_id,
        message.message_id,
        message.channel,
        message.status,
        message.attempts,
        message.next_attempt_at,
        message.error_detail,
        message.host_log_id,
        message.dedupe_key,
        circuit.channel IS NOT null AS is_closed,
        count(*) OVER tenants AS messages,
        row_number() OVER (
            tenants
            ORDER BY array_position(
                '{ambiguous,dead,expired,retry,pending,sending}', message.status
            ), message.next_attempt_at, message.message_id
        ) AS place
    FROM batch.outbox AS message
    LEFT JOIN batch.channel_circuit AS circuit
        ON message.tenant_id = circuit.tenant_id AND message.channel = circuit.channel
    WHERE message.status IN ('ambiguous', 'dead', 'expired', 'retry', 'pending', 'sending')
    WINDOW tenants AS (PARTITION BY message.tenant_id)
) AS listed
WHERE place <= %(count)s
ORDER BY tenant_id, place;
