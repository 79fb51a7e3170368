-- Channels that nothing goes through any more, told once, with what waits for them.
WITH taken AS (
    UPDATE batch.channel_circuit
    SET reported_by = %(execution_id)s
    WHERE reported_by IS null OR reported_by = %(execution_id)s
    RETURNING
        tenant_id,
        channel,
        reason
)

SELECT
    taken.tenant_id,
    taken.channel,
    taken.reason,
    (
        SELECT count(*) FROM batch.outbox AS message
        WHERE
            message.tenant_id = taken.tenant_id AND message.channel = taken.channel
            AND message.status IN ('pending', 'retry')
    ) AS messages
FROM taken
ORDER BY taken.tenant_id, taken.channel;
