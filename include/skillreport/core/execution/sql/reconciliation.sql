-- name: delete_tallies
DELETE FROM batch.reconciliation
WHERE execution_id = %(execution_id)s;

-- name: remember_sources
-- Search the unknown sources, but not again within %(patience)s: a search without a result reads the entire table. Logins are
-- searched once. Later the hourly batch finds them in the rows that it reads (remember_logins).
INSERT INTO batch.host_source AS known (source, has_rows)
SELECT source, has_rows
FROM batch.all_host_source
WHERE
    source NOT IN (
        SELECT seen.source FROM batch.host_source AS seen
        WHERE seen.has_rows OR seen.source = %(logins)s OR seen.looked_at > now() - %(patience)s::interval
    )
ORDER BY source
ON CONFLICT (source) DO UPDATE SET
    has_rows = excluded.has_rows,
    looked_at = now(),
    first_seen_at = CASE WHEN excluded.has_rows THEN now() ELSE known.first_seen_at END
WHERE NOT known.has_rows;

-- name: remember_logins
UPDATE batch.host_source AS known
SET has_rows = true, first_seen_at = now()
WHERE
    known.source = %(logins)s AND NOT known.has_rows
    AND EXISTS (
        SELECT FROM batch.activity_hour AS happened
        WHERE happened.logins > 0 OR happened.last_at_utc IS null
    );

-- name: known_sources
SELECT source
FROM batch.host_source
WHERE has_rows;

-- name: remember_days
-- If a later day has no rows, the note contains this day.
INSERT INTO batch.host_source AS known (source, last_day)
SELECT source, %(day)s AS last_day
FROM unnest(%(sources)s::text[]) AS seen (source)
ORDER BY source
ON CONFLICT (
    source) DO UPDATE SET has_rows = true, last_day = excluded.last_day
WHERE NOT known.has_rows OR known.last_day IS null OR excluded.last_day > known.last_day;

-- name: last_days
SELECT source, last_day
FROM batch.host_source
WHERE source = any(%(sources)s) AND last_day <= %(day)s;

-- name: record_silences
INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count, since)
SELECT %(execution_id)s, source, placement, false, 0, since
FROM unnest(%(sources)s::text[], %(placements)s::text[], %(days)s::date[]) AS silence (source, placement, since)
ON CONFLICT (execution_id, source, placement) DO UPDATE SET since = excluded.since;

-- name: load_reconciliation
SELECT source, placement, is_event, row_count, since
FROM batch.reconciliation
WHERE execution_id = %(execution_id)s
ORDER BY source, placement;
