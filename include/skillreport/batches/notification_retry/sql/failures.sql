-- name: former_tenants_with_messages
-- Acts as batch_platform. Inactive tenants with messages that are unfinished, whose failure is unreported, or whose status the
-- application's row does not show yet.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL', 'UNKNOWN')
    AND (
        EXISTS (
            SELECT FROM batch.outbox AS message
            WHERE message.tenant_id = tenant.tenant_id AND message.finished_at IS null AND message.status <> 'ambiguous'
        )
        OR EXISTS (
            SELECT FROM batch.outbox AS message
            WHERE
                message.tenant_id = tenant.tenant_id AND message.status IN ('dead', 'expired', 'ambiguous')
                AND message.reported_by IS null
        )
        OR EXISTS (
            SELECT FROM batch.outbox AS message
            WHERE
                message.tenant_id = tenant.tenant_id AND message.status = 'sent' AND message.error_code IS NOT null
                AND message.reported_by IS null
        )
        OR EXISTS (
            SELECT FROM batch.outbox AS message
            WHERE
                message.tenant_id = tenant.tenant_id AND message.host_log_id IS NOT null
                AND message.mirrored_status <> message.status AND message.status <> 'sending'
        )
    )
ORDER BY tenant.tenant_id;

-- name: give_up
-- A message expires regardless of the cause of its delay (a closed channel, quiet hours, an outage), because it is too late to be
-- useful. A message that the tenant has switched off is withdrawn, which is no failure. Contract e-mails, messages that wait for
-- the approval after a pause and stopped messages never expire.
UPDATE batch.outbox AS message
SET
    status = CASE WHEN message.error_code = 'switched_off' THEN 'withdrawn' ELSE 'expired' END,
    finished_at = %(now)s,
    error_code = CASE WHEN message.error_code = 'switched_off' THEN 'switched_off' ELSE 'expired' END,
    error_detail = concat(
        '予定から ', tenant.give_up_hours::text, ' 時間を過ぎたため送信をやめました', '（' || message.error_detail || '）'
    )
FROM unnest(%(tenant_ids)s::text[], %(give_up_hours)s::integer[]) AS tenant (tenant_id, give_up_hours)
WHERE
    message.tenant_id = tenant.tenant_id AND message.status IN ('pending', 'retry')
    AND message.due_at < %(until)s::timestamptz - tenant.give_up_hours * interval '1 hour'
    AND coalesce(message.template_key <> all(%(contract_letters)s), true) AND message.deferred_for IS null
    AND NOT EXISTS (
        SELECT FROM batch.message_stop AS stop
        WHERE stop.tenant_id = message.tenant_id AND coalesce(message.template_key <> all(stop.still_sent), true)
    )
RETURNING message.message_id;

-- name: take_waiting_contract_letters
-- Contract e-mails that are as late as expired messages. Each is reported by the run that takes it, at most every 23 hours,
-- because the hourly runs do not end at the same second.
WITH taken AS (
    UPDATE batch.outbox AS message
    SET reported_by = %(execution_id)s
    FROM unnest(%(tenant_ids)s::text[], %(give_up_hours)s::integer[]) AS tenant (tenant_id, give_up_hours)
    WHERE
        message.tenant_id = tenant.tenant_id AND message.status IN ('pending', 'retry')
        AND message.template_key = any(%(contract_letters)s) AND message.deferred_for IS null
        AND NOT EXISTS (
            SELECT FROM batch.message_stop AS stop
            WHERE stop.tenant_id = message.tenant_id AND coalesce(message.template_key <> all(stop.still_sent), true)
        )
        AND message.due_at < %(until)s::timestamptz - tenant.give_up_hours * interval '1 hour'
        AND (
            message.reported_by IS null OR message.reported_by = %(execution_id)s
            OR NOT EXISTS (
                SELECT FROM batch.tenant_outcome AS reported
                WHERE
                    reported.tenant_id = message.tenant_id AND reported.execution_id = message.reported_by
                    AND reported.error_code IN ('NOTIFICATIONS_FAILED', 'LETTERS_WAITING')
                    AND reported.recorded_at > %(now)s::timestamptz - interval '23 hours'
            )
        )
    RETURNING message.tenant_id, message.channel, message.error_detail, message.due_at
)

SELECT tenant_id, channel, error_detail, count(*) AS messages, min(due_at) AS oldest_due_at
FROM taken
GROUP BY tenant_id, channel, error_detail
ORDER BY tenant_id ASC, messages DESC, channel ASC, error_detail ASC;

-- name: take_final_failures
-- Each failure is reported once, by the run that takes it, and again only if that run is cleared.
WITH taken AS (
    UPDATE batch.outbox
    SET reported_by = %(execution_id)s
    WHERE
        (status IN ('dead', 'ambiguous', 'expired') OR (status = 'sent' AND error_code IS NOT null))
        AND (NOT %(only_decided)s OR decided_by = %(execution_id)s)
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
    RETURNING tenant_id, status, channel, error_code, error_detail, destination, template_key
)

SELECT tenant_id, status, channel, error_detail, count(*) AS messages
FROM taken
-- The recipient has unsubscribed, so no decision is needed, except for contract e-mails.
WHERE
    error_code IS DISTINCT FROM 'suppressed'
    OR template_key = any(%(contract_letters)s)
    OR NOT EXISTS (
        SELECT FROM batch.suppressed_address AS known
        WHERE
            known.tenant_id = taken.tenant_id AND known.address = lower(taken.destination)
            AND known.reason IN ('complaint', 'unsubscribe')
    )
GROUP BY tenant_id, status, channel, error_detail
ORDER BY tenant_id ASC, status ASC, messages DESC, channel ASC, error_detail ASC;

-- name: closed_again
-- The channels that the run reopened and that are closed again: all, or only the channels of messages that it decided about.
SELECT
    circuit.tenant_id,
    circuit.channel,
    circuit.reason,
    (
        SELECT count(*) FROM batch.outbox AS message
        WHERE
            message.tenant_id = circuit.tenant_id AND message.channel = circuit.channel
            AND message.status IN ('pending', 'retry')
    ) AS messages
FROM batch.channel_circuit AS circuit
WHERE
    %(reopened_all)s
    OR EXISTS (
        SELECT FROM batch.outbox AS decided
        WHERE
            decided.tenant_id = circuit.tenant_id AND decided.channel = circuit.channel
            AND decided.decided_by = %(execution_id)s
    )
ORDER BY circuit.tenant_id, circuit.channel;

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
                AND coalesce(reported.error_code, '') NOT IN ('NOTIFICATIONS_FAILED', 'LETTERS_WAITING', 'CHANNEL_CLOSED')
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

-- name: take_behind_closed_channels
-- Take the messages whose channel has been closed so long that an e-mail replaces them. Skips messages that an open channel would
-- not send either (see claim, postpone_switched_off and resumption.sql).
WITH waiting AS (
    SELECT message.message_id, message.channel, message.host_log_id, message.template_key, message.tenant_id
    FROM unnest(%(tenant_ids)s::text[], %(hours)s::integer[]) AS wanted (tenant_id, hours)
    INNER JOIN batch.channel_circuit AS circuit
        ON
            wanted.tenant_id = circuit.tenant_id
            AND circuit.opened_at <= %(now)s::timestamptz - wanted.hours * interval '1 hour'
    INNER JOIN batch.outbox AS message
        ON circuit.tenant_id = message.tenant_id AND circuit.channel = message.channel
    WHERE
        message.channel <> 'email' AND message.status IN ('pending', 'retry') AND message.deferred_for IS null
        AND NOT EXISTS (
            SELECT FROM batch.message_stop AS stop
            WHERE stop.tenant_id = message.tenant_id AND coalesce(message.template_key <> all(stop.still_sent), true)
        )
),

-- Use an array, for the index of the application's table.
shown AS (
    SELECT *
    FROM batch.tenant_notification_now
    WHERE id = any(array(SELECT waiting.host_log_id FROM waiting))
),

switched_off AS (
    SELECT entry.tenant_id, entry.channel, entry.template_key
    FROM jsonb_to_recordset(%(switched_off)s) AS entry (tenant_id text, channel text, template_key text)
),

held AS (
    SELECT waiting.message_id
    FROM waiting
    INNER JOIN switched_off ON waiting.tenant_id = switched_off.tenant_id
    WHERE
        waiting.template_key = switched_off.template_key
        OR (
            waiting.channel = switched_off.channel AND switched_off.template_key IS null
            AND coalesce(waiting.template_key <> all(%(contract_letters)s), waiting.host_log_id IS NOT null)
        )
)

UPDATE batch.outbox AS message
SET
    status = 'withdrawn',
    finished_at = %(now)s,
    error_code = 'fallback',
    error_detail = 'チャネルが停止しているため、管理者へメールで送ります'
FROM waiting
LEFT JOIN shown ON waiting.host_log_id = shown.id
LEFT JOIN batch.letter_file AS file
    ON waiting.tenant_id = file.tenant_id AND split_part(waiting.host_log_id, '-copy-', 1) = file.notification_id
WHERE
    message.message_id = waiting.message_id
    -- Checked again, because another transaction (a second run, a sender, an operator) may have changed the message.
    AND message.status IN ('pending', 'retry') AND message.deferred_for IS null
    AND (
        waiting.host_log_id IS null
        OR (
            NOT shown.is_withdrawn AND NOT shown.is_switched_off AND shown.channel = waiting.channel
            AND shown.scheduled_at_utc AT TIME ZONE 'UTC' <= %(now)s
        )
    )
    AND waiting.message_id NOT IN (SELECT held.message_id FROM held)
RETURNING
    message.message_id, message.tenant_id, message.channel, message.subject, message.body, message.priority,
    shown.subject AS host_subject, shown.body AS host_body, shown.is_html AS host_is_html,
    file.unattached_text;
