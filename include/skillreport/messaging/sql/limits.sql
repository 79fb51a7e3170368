-- name: clear_killed_senders
-- A running sender has a lock (mark_alive). SKIP LOCKED, because another process may clear the same rows.
DELETE FROM batch.limit_sender
WHERE
    (limit_key, owner) IN (
        SELECT killed.limit_key, killed.owner
        FROM batch.limit_sender AS killed
        WHERE
            hashtext(killed.owner)::oid <> all(
                array(
                    SELECT alive.objid
                    FROM pg_locks AS alive
                    INNER JOIN pg_database ON alive.database = pg_database.oid
                    WHERE alive.locktype = 'advisory' AND alive.classid = %(lock)s AND pg_database.datname = current_database()
                )
            )
        FOR UPDATE SKIP LOCKED
    );

-- name: announce_sender
INSERT INTO batch.limit_sender (limit_key, owner, seen_at)
SELECT known.limit_key, %(owner)s, clock_timestamp() AS seen_at
FROM unnest(%(keys)s::text[]) AS known (limit_key)
ORDER BY known.limit_key
ON CONFLICT (limit_key, owner) DO UPDATE SET seen_at = excluded.seen_at;

-- name: load_limits
-- The limits that earlier runs have learnt within a week, and this process's place among the processes that use the limit now.
-- The clock is the database's, because workers' clocks may differ.
SELECT
    known.limit_key,
    learnt.per_minute,
    learnt.at_once,
    greatest(extract(EPOCH FROM learnt.blocked_until - clock_timestamp()), 0)::double precision AS blocked_seconds,
    coalesce(learnt.closed_at IS NOT null, false) AS is_closed,
    coalesce(learnt.refusals <> '[]', false) AS is_doubted,
    present.senders,
    present.rank
FROM unnest(%(keys)s::text[]) AS known (limit_key)
LEFT JOIN batch.service_limit AS learnt
    ON known.limit_key = learnt.limit_key AND learnt.learnt_at > clock_timestamp() - interval '7 days'
CROSS JOIN LATERAL (
    SELECT
        count(*) AS senders,
        count(*) FILTER (WHERE sender.owner < %(owner)s) AS rank
    FROM batch.limit_sender AS sender
    WHERE sender.limit_key = known.limit_key AND sender.seen_at > clock_timestamp() - interval '90 seconds'
) AS present;

-- name: store_limits
INSERT INTO batch.service_limit (limit_key, per_minute, at_once, blocked_until, learnt_at)
SELECT
    learnt.limit_key,
    learnt.per_minute,
    learnt.at_once,
    clock_timestamp() + learnt.blocked_seconds * interval '1 second' AS blocked_until,
    clock_timestamp() AS learnt_at
FROM
    unnest(
        %(keys)s::text[], %(per_minute)s::double precision[], %(at_once)s::integer[],
        %(blocked_seconds)s::double precision[]
    ) AS learnt (limit_key, per_minute, at_once, blocked_seconds)
ORDER BY learnt.limit_key
ON CONFLICT (limit_key) DO UPDATE SET
    per_minute = excluded.per_minute,
    at_once = excluded.at_once,
    blocked_until = greatest(service_limit.blocked_until, excluded.blocked_until),
    learnt_at = excluded.learnt_at;

-- name: close_service
-- doubted_seconds: for how long the service has refused the installation. E-mails that it refused since then are sent again.
INSERT INTO batch.service_limit AS known (
    limit_key, at_once, blocked_until, closed_at, closed_reason, doubted_from, doubted_until
)
VALUES (
    %(limit_key)s,
    %(at_once)s,
    clock_timestamp() + %(blocked_seconds)s::double precision * interval '1 second',
    clock_timestamp(),
    %(reason)s,
    clock_timestamp() - %(doubted_seconds)s::double precision * interval '1 second',
    CASE WHEN %(doubted_seconds)s::double precision IS NOT null THEN clock_timestamp() + interval '1 minute' END
)
ON CONFLICT (limit_key) DO UPDATE SET
    blocked_until = greatest(known.blocked_until, excluded.blocked_until),
    closed_at = coalesce(known.closed_at, excluded.closed_at),
    closed_reason = excluded.closed_reason,
    doubted_from = coalesce(excluded.doubted_from, known.doubted_from),
    doubted_until = coalesce(excluded.doubted_until, known.doubted_until),
    learnt_at = excluded.learnt_at;

-- name: lock_refusals
-- The refusals since the last accepted e-mail, and the present time. The lock prevents changes until the transaction ends.
INSERT INTO batch.service_limit AS known (limit_key, at_once)
VALUES (%(limit_key)s, %(at_once)s)
ON CONFLICT (limit_key) DO UPDATE SET learnt_at = excluded.learnt_at
RETURNING
    refusals,
    coalesce(extract(EPOCH FROM clock_timestamp() - accepted_at), 'infinity')::double precision AS accepted_seconds,
    extract(EPOCH FROM clock_timestamp())::double precision AS at;

-- name: store_accepted
INSERT INTO batch.service_limit AS known (limit_key, at_once, accepted_at)
VALUES (
    %(limit_key)s, %(at_once)s, clock_timestamp() - %(seconds)s::double precision * interval '1 second'
)
ON CONFLICT (limit_key) DO UPDATE SET accepted_at = greatest(known.accepted_at, excluded.accepted_at);

-- name: store_refusals
UPDATE batch.service_limit
SET refusals = %(refusals)s
WHERE limit_key = %(limit_key)s;

-- name: load_refusals
SELECT refusals, extract(EPOCH FROM clock_timestamp())::double precision AS at
FROM batch.service_limit
WHERE limit_key = %(limit_key)s
FOR UPDATE;

-- name: reopen_service
UPDATE batch.service_limit
SET closed_at = null, closed_reason = null, refusals = '[]'
WHERE limit_key = %(limit_key)s;

-- name: closed_services
-- Closed services that the hourly runs still probe. Without a recent probe, no message waits, or the login was changed.
SELECT limit_key, closed_reason, closed_at
FROM batch.service_limit
WHERE closed_at IS NOT null AND learnt_at > clock_timestamp() - interval '2 hours'
ORDER BY limit_key;

-- name: unanswered_messages
-- codes: the errors of servers that do not answer, are out of order, or refuse the installation.
SELECT channel, error_code, count(*)::integer AS messages, min(due_at) AS oldest_due_at
FROM batch.outbox
WHERE status IN ('pending', 'retry') AND error_code = any(%(codes)s) AND due_at < %(due_before)s
GROUP BY channel, error_code
ORDER BY channel, error_code;

-- name: dismiss_sender
DELETE FROM batch.limit_sender
WHERE
    (owner = %(owner)s AND limit_key <> all(%(still_used)s::text[]))
    OR seen_at < clock_timestamp() - interval '1 day';
