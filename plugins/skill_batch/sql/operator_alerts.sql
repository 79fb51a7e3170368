-- name: record_alert
INSERT INTO batch.operator_alert (alert_key, channel, severity, message, due_at)
SELECT
    %(key)s,
    channel,
    %(severity)s,
    %(message)s,
    clock_timestamp() + make_interval(secs => %(lease)s)
FROM unnest(%(channels)s::text[]) AS listed (channel)
ON CONFLICT (alert_key, channel) DO NOTHING
RETURNING channel;

-- name: find_alert
SELECT exists(
    SELECT FROM batch.operator_alert
    WHERE alert_key = %(key)s
);

-- name: find_failure_alert
-- failure_key in notifiers/failure_alert.py builds the keys.
SELECT exists(
    SELECT FROM batch.operator_alert
    WHERE
        starts_with(alert_key, %(before_batch)s)
        AND right(alert_key, length(%(after_batch)s)) = %(after_batch)s
);

-- name: claim_alert
-- A materialized query runs once. A subquery may run once per row, and lease alerts that are never sent.
WITH due AS MATERIALIZED (
    SELECT alert_key, channel, in_doubt
    FROM batch.operator_alert
    WHERE due_at <= clock_timestamp() AND channel <> all(%(excluded)s)
    ORDER BY created_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)

UPDATE batch.operator_alert AS alert
SET due_at = clock_timestamp() + make_interval(secs => %(lease)s), in_doubt = true
FROM due
WHERE alert.alert_key = due.alert_key AND alert.channel = due.channel
RETURNING alert.alert_key, alert.channel, alert.message, due.in_doubt;

-- name: renew_lease
-- The sends over earlier channels have used a part of the lease.
UPDATE batch.operator_alert
SET due_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE alert_key = %(key)s AND channel = %(channel)s AND due_at IS NOT null;

-- name: record_alert_sent
UPDATE batch.operator_alert
SET
    due_at = null,
    attempts = attempts + 1,
    in_doubt = false,
    delivered_at = clock_timestamp(),
    last_error = null
WHERE alert_key = %(key)s AND channel = %(channel)s;

-- name: record_alert_failed
UPDATE batch.operator_alert
SET
    attempts = attempts + 1,
    in_doubt = %(in_doubt)s OR %(is_repeat)s,
    last_error = %(error)s,
    due_at = CASE
        WHEN %(in_doubt)s AND %(is_repeat)s THEN null
        WHEN created_at > clock_timestamp() - make_interval(hours => %(kept)s)
            THEN clock_timestamp() + greatest(
                least(interval '1 minute' * 2 ^ attempts, interval '1 hour'),
                make_interval(secs => %(wait)s)
            )
    END
WHERE alert_key = %(key)s AND channel = %(channel)s
RETURNING due_at;
