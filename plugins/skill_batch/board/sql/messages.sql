-- name: open_queues
-- Waiting, parked or undelivered messages, by channel and state.
SELECT
    message.channel, message.status, count(*) AS messages, min(message.due_at) AS oldest_due_at,
    min(message.next_attempt_at) AS next_attempt_at
FROM batch.board_message AS message
WHERE message.status NOT IN ('sent', 'discarded', 'withdrawn', 'merged')
GROUP BY message.channel, message.status
ORDER BY message.channel, message.status;

-- name: open_messages
-- A page of these messages, oldest attempt first. "after" is the key of the previous page's last row. needs_decision excludes
-- unsubscribed recipients, except for contract e-mails.
SELECT
    message.message_id, message.tenant_id, coalesce(tenant.tenant_code, message.tenant_id) AS tenant_code, message.channel,
    message.status, message.attempts, message.due_at, message.next_attempt_at, message.recipient, message.error_code,
    message.error_detail, message.host_log_id, message.template_key, message.created_at, message.finished_at,
    message.status IN ('pending', 'retry') AND coalesce(message.template_key <> all(stop.still_sent), true)
    AND stop.tenant_id IS NOT null AS is_stopped
FROM batch.board_message AS message
LEFT JOIN batch.board_tenant AS tenant ON message.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_message_stop AS stop ON message.tenant_id = stop.tenant_id
WHERE
    message.status = any(%(statuses)s)
    AND message.status NOT IN ('sent', 'discarded', 'withdrawn', 'merged')
    AND (NOT %(needs_decision)s OR NOT message.is_unwanted OR message.template_key = any(%(contract_letters)s))
    AND (%(channel)s::text IS null OR message.channel = %(channel)s)
    AND (%(tenant_ids)s::text[] IS null OR message.tenant_id = any(%(tenant_ids)s))
    AND (%(error_code)s::text IS null OR message.error_code = %(error_code)s)
    AND (message.next_attempt_at, message.message_id) > (%(after_at)s, %(after_id)s)
ORDER BY message.next_attempt_at, message.message_id
LIMIT %(most)s;

-- name: sent_messages
-- A page of these tenants' sent messages, newest first. "before" is the key of the previous page's last row.
SELECT
    message.message_id, message.tenant_id, coalesce(tenant.tenant_code, message.tenant_id) AS tenant_code, message.channel,
    message.status, message.attempts, message.due_at, message.next_attempt_at, message.recipient, message.error_code,
    message.error_detail, message.host_log_id, message.template_key, message.created_at, message.finished_at, false AS is_stopped
FROM batch.board_message AS message
LEFT JOIN batch.board_tenant AS tenant ON message.tenant_id = tenant.tenant_id
WHERE
    message.tenant_id = any(%(tenant_ids)s) AND message.status = 'sent'
    AND (%(channel)s::text IS null OR message.channel = %(channel)s)
    AND (%(error_code)s::text IS null OR message.error_code = %(error_code)s)
    AND (message.created_at, message.message_id) < (%(before_at)s, %(before_id)s)
ORDER BY message.created_at DESC, message.message_id DESC
LIMIT %(most)s;

-- name: count_sent_messages
SELECT count(*)
FROM (
    SELECT FROM batch.board_message AS message
    WHERE
        message.tenant_id = any(%(tenant_ids)s) AND message.status = 'sent'
        AND (%(channel)s::text IS null OR message.channel = %(channel)s)
        AND (%(error_code)s::text IS null OR message.error_code = %(error_code)s)
    LIMIT %(most)s -- noqa: AM09
) AS listed;

-- name: count_open_messages
-- Counts up to a limit, which is enough for the page.
SELECT count(*)
FROM (
    SELECT FROM batch.board_message AS message
    WHERE
        message.status = any(%(statuses)s)
        AND message.status NOT IN ('sent', 'discarded', 'withdrawn', 'merged')
        AND (NOT %(needs_decision)s OR NOT message.is_unwanted OR message.template_key = any(%(contract_letters)s))
        AND (%(channel)s::text IS null OR message.channel = %(channel)s)
        AND (%(tenant_ids)s::text[] IS null OR message.tenant_id = any(%(tenant_ids)s))
        AND (%(error_code)s::text IS null OR message.error_code = %(error_code)s)
    LIMIT %(most)s -- noqa: AM09
) AS listed;

-- name: closed_channels
SELECT
    circuit.tenant_id, coalesce(tenant.tenant_code, circuit.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, circuit.channel, circuit.error_code, circuit.reason, circuit.opened_at,
    count(*) OVER () AS hits
FROM batch.board_channel_circuit AS circuit
LEFT JOIN batch.board_tenant AS tenant ON circuit.tenant_id = tenant.tenant_id
ORDER BY circuit.opened_at DESC
LIMIT %(most)s;

-- name: message_stops
-- The tenants whose messages an operator stopped (all tenants: tenant_ids is null), with the number of waiting messages.
SELECT
    stop.tenant_id, coalesce(tenant.tenant_code, stop.tenant_id) AS tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name,
    stop.still_sent = '{}' AS stops_all, stop.reason, stop.entered_by, stop.entered_at,
    (
        SELECT count(*) FROM batch.board_message AS message
        WHERE
            message.tenant_id = stop.tenant_id AND message.status IN ('pending', 'retry')
            AND coalesce(message.template_key <> all(stop.still_sent), true)
    ) AS messages,
    count(*) OVER () AS hits
FROM batch.board_message_stop AS stop
LEFT JOIN batch.board_tenant AS tenant ON stop.tenant_id = tenant.tenant_id
WHERE %(tenant_ids)s::text[] IS null OR stop.tenant_id = any(%(tenant_ids)s)
ORDER BY stop.entered_at DESC, stop.tenant_id ASC
LIMIT %(most)s;

-- name: throttled_services
SELECT
    limit_key, per_minute, at_once, blocked_until, learnt_at, closed_reason,
    -- A daily quota ends at midnight in Japan. Other limits end within an hour.
    (blocked_until AT TIME ZONE 'Asia/Tokyo')::time < '00:01' AS is_daily, count(*) OVER () AS hits
FROM batch.board_service_limit
WHERE
    blocked_until > %(now)s OR per_minute IS NOT null
    OR (closed_at IS NOT null AND learnt_at > %(now)s::timestamptz - interval '1 day')
ORDER BY closed_at IS null, blocked_until DESC, limit_key ASC
LIMIT %(most)s;

-- name: suppressed_addresses
SELECT
    address.suppression_id, address.tenant_id, coalesce(tenant.tenant_code, address.tenant_id) AS tenant_code,
    address.recipient, address.reason, address.error_code, address.bounces, address.suppressed_at, address.suppressed_until,
    address.bounced_until > %(now)s AS bounces_too, count(*) OVER () AS hits
FROM batch.board_suppressed_address AS address
LEFT JOIN batch.board_tenant AS tenant ON address.tenant_id = tenant.tenant_id
WHERE
    (address.suppressed_until IS null OR address.suppressed_until > %(now)s)
    AND (%(tenant_ids)s::text[] IS null OR address.tenant_id = any(%(tenant_ids)s))
ORDER BY address.suppressed_at DESC
LIMIT %(most)s;

-- name: message
SELECT
    message.message_id, message.tenant_id, coalesce(tenant.tenant_code, message.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, message.channel, message.status, message.priority, message.attempts,
    message.due_at, message.next_attempt_at, message.lease_until, message.host_log_id, message.template_key,
    message.recipient, message.error_code, message.error_class, message.error_detail, message.decided_by,
    message.created_by, message.created_at, message.finished_at
FROM batch.board_message AS message
LEFT JOIN batch.board_tenant AS tenant ON message.tenant_id = tenant.tenant_id
WHERE message.message_id = %(message_id)s;
