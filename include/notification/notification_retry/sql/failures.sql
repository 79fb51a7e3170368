-- name: give_up
-- A message expires whatever delayed it (a closed channel, quiet hours, an outage): it is too late to be useful.
UPDATE batch.outbox AS message
SET
    status = 'expired',
    finished_at = %(now)s,
    error_code = 'expired',
    error_detail = concat(
        '予定から ', tenant.give_up_hours::text, ' 時間を過ぎたため送信をやめました', '（' || message.error_detail || '）'
    )
FROM unnest(%(tenant_ids)s::text[], %(give_up_hours)s::integer[]) AS tenant (tenant_id, give_up_hours)
WHERE
    message.tenant_id = tenant.tenant_id AND message.status IN ('pending', 'retry')
    AND message.due_at < %(until)s::timestamptz - tenant.give_up_hours * interval '1 hour'
RETURNING message.message_id;

-- name: take_final_failures
-- Each failure is reported once, by the run that takes it. Only clearing that run reports it again.
WITH taken AS (
    UPDATE batch.outbox
    SET reported_by = %(execution_id)s
    WHERE
        status IN ('dead', 'ambiguous', 'expired')
        AND (
            reported_by IS null OR reported_by = %(execution_id)s
            -- The run that took them was lost before it reported them.
            OR EXISTS (
                SELECT FROM batch.tenant_outcome AS reported
                WHERE
                    reported.tenant_id = outbox.tenant_id AND reported.execution_id = outbox.reported_by
                    AND reported.error_code IS DISTINCT FROM 'NOTIFICATIONS_FAILED'
            )
        )
    RETURNING tenant_id, status, channel, error_detail
)

SELECT tenant_id, status, channel, error_detail, count(*) AS messages
FROM taken
GROUP BY tenant_id, status, channel, error_detail
ORDER BY tenant_id ASC, status ASC, messages DESC, channel ASC, error_detail ASC;

-- name: take_closed_channels
-- Each closed channel is reported once, with the number of messages that wait for it.
WITH taken AS (
    UPDATE batch.channel_circuit AS circuit
    SET reported_by = %(execution_id)s
    WHERE
        reported_by IS null OR reported_by = %(execution_id)s
        -- The run that took them was lost before it reported them.
        OR EXISTS (
            SELECT FROM batch.tenant_outcome AS reported
            WHERE
                reported.tenant_id = circuit.tenant_id AND reported.execution_id = circuit.reported_by
                AND coalesce(reported.error_code, '') NOT IN ('NOTIFICATIONS_FAILED', 'CHANNEL_CLOSED')
        )
    RETURNING tenant_id, channel, reason
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
