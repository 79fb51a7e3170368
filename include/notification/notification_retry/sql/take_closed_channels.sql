-- Channels that nothing goes through any more, told once, with what waits for them.
WITH taken AS (
    UPDATE batch.channel_circuit AS circuit
    SET reported_by = %(execution_id)s
    WHERE
        reported_by IS null OR reported_by = %(execution_id)s
        -- The run that took them was lost before it had said so.
        OR EXISTS (
            SELECT FROM batch.tenant_outcome AS told
            WHERE
                told.tenant_id = circuit.tenant_id AND told.execution_id = circuit.reported_by
                AND coalesce(told.error_code, '') NOT IN ('NOTIFICATIONS_FAILED', 'CHANNEL_CLOSED')
        )
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
