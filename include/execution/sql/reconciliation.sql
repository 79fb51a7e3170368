-- name: delete_tallies
DELETE FROM batch.reconciliation
WHERE execution_id = %(execution_id)s;

-- name: remember_sources
-- Only sources that are not known yet are looked at.
INSERT INTO batch.host_source (source)
SELECT source
FROM batch.all_host_source
WHERE source NOT IN (SELECT known.source FROM batch.host_source AS known) AND has_rows
ORDER BY source
ON CONFLICT DO NOTHING;

-- name: known_sources
SELECT source
FROM batch.host_source;

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
