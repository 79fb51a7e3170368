-- name: session_scans
SELECT relname, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint AS row_count
FROM pg_stat_xact_all_tables
WHERE schemaname = 'public';

-- name: add_scans
INSERT INTO batch.rows_scanned AS known (execution_id, relation, row_count)
SELECT
    %(execution_id)s,
    relation,
    row_count
FROM unnest(%(relations)s::text[], %(counts)s::bigint[]) AS scanned (relation, row_count)
ORDER BY relation
ON CONFLICT (execution_id, relation) DO UPDATE SET row_count = known.row_count + excluded.row_count;

-- name: load_scans
-- Tables with rows that the run has assigned. A source begins with its table's name. Notes about assigned rows (watched,
-- overruled) and about missing ones do not count as rows.
SELECT
    used.relation,
    coalesce(scanned.row_count, 0)::bigint AS rows_read,
    used.row_count AS rows_used
FROM (
    SELECT split_part(source, ' ', 1) AS relation, sum(row_count)::bigint AS row_count
    FROM batch.reconciliation
    WHERE execution_id = %(execution_id)s AND placement NOT IN ('watched', 'overruled', 'no_source', 'silent')
    GROUP BY split_part(source, ' ', 1)
) AS used
LEFT JOIN batch.rows_scanned AS scanned ON used.relation = scanned.relation AND scanned.execution_id = %(execution_id)s
ORDER BY used.relation;
