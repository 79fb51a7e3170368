-- name: claim_hours
INSERT INTO batch.activity_reading AS known (hour_at, read_until)
SELECT
    hour_at,
    %(until)s AS read_until
FROM generate_series(%(kept_from)s::timestamptz, %(until)s::timestamptz - interval '1 hour', interval '1 hour') AS read (hour_at)
ORDER BY hour_at
ON CONFLICT (hour_at) DO UPDATE SET read_until = greatest(known.read_until, excluded.read_until);

-- name: delete_hours
-- The hours that the run counts again, and those that no batch needs any more.
WITH expired AS (
    DELETE FROM batch.activity_reading
    WHERE hour_at < %(expired)s
)

DELETE FROM batch.activity_hour
WHERE hour_at < %(expired)s OR (hour_at >= %(kept_from)s AND hour_at < %(until)s);

-- name: count_read_hours
SELECT count(*)
FROM batch.activity_reading
WHERE
    hour_at >= %(since)s::timestamp AT TIME ZONE 'UTC' AND hour_at < %(until)s::timestamp AT TIME ZONE 'UTC'
    AND read_until >= greatest(
        hour_at + interval '1 hour' + %(late)s::interval, %(again_after)s::timestamp AT TIME ZONE 'UTC'
    );

-- name: hold_hours
-- A run that deletes expired hours waits until the transaction ends.
SELECT hour_at
FROM batch.activity_reading
WHERE hour_at >= %(since)s::timestamp AT TIME ZONE 'UTC' AND hour_at < %(until)s::timestamp AT TIME ZONE 'UTC'
FOR KEY SHARE;
