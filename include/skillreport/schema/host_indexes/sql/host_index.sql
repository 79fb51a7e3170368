-- name: index_states
-- Wanted indexes whose table and column exist. present: a valid index that begins with the column; partial indexes do not serve,
-- and BRIN does not replace a B-tree. is_leftover: an interrupted creation has left an unusable index. The creation may still be
-- running if the login cannot see which index another session creates. rows is null before the first ANALYZE.
SELECT
    wanted.name,
    nullif(relation.reltuples, -1)::bigint AS rows,
    found.present,
    coalesce(found.is_leftover, false) AS is_leftover
FROM
    unnest(%(names)s::text[], %(tables)s::text[], %(columns)s::text[], %(methods)s::text[])
    WITH ORDINALITY AS wanted (name, table_name, column_name, method, position)
INNER JOIN pg_class AS relation
    ON wanted.table_name = relation.relname AND relation.relnamespace = 'public'::regnamespace
INNER JOIN pg_attribute AS attribute
    ON relation.oid = attribute.attrelid AND wanted.column_name = attribute.attname AND NOT attribute.attisdropped
CROSS JOIN
    (
        SELECT count(*) > 0 AS is_there
        FROM pg_stat_progress_create_index
        WHERE datname = current_database() AND relid IS null
    ) AS hidden
CROSS JOIN
    LATERAL (
        SELECT
            min(named.relname::text) FILTER (
                WHERE index.indisvalid AND index.indpred IS null AND index.indkey[0] = attribute.attnum
                AND method.amname IN ('btree', wanted.method)
            ) AS present,
            bool_or(
                named.relname = wanted.name AND NOT index.indisvalid AND progress.pid IS null AND NOT hidden.is_there
            ) AS is_leftover
        FROM pg_index AS index
        INNER JOIN pg_class AS named ON index.indexrelid = named.oid
        INNER JOIN pg_am AS method ON named.relam = method.oid
        LEFT JOIN pg_stat_progress_create_index AS progress ON index.indexrelid = progress.index_relid
        WHERE index.indrelid = relation.oid
    ) AS found
ORDER BY wanted.position;

-- name: has_record
SELECT
    exists(
        SELECT FROM pg_class
        WHERE relnamespace = to_regnamespace('batch') AND relname = 'host_index'
    ) AS is_deployed;

-- name: recorded
SELECT table_name, column_name, index_name
FROM batch.host_index
ORDER BY table_name, column_name;

-- name: record
INSERT INTO batch.host_index AS known (table_name, column_name, index_name)
VALUES (%(table_name)s, %(column_name)s, %(index_name)s)
ON CONFLICT (table_name, column_name) DO UPDATE SET
    index_name = excluded.index_name,
    recorded_at = now()
WHERE known.index_name <> excluded.index_name;

-- name: forget
DELETE FROM batch.host_index
WHERE table_name = %(table_name)s AND column_name = %(column_name)s;

-- name: begin_creation
-- Fails if another session creates indexes: sessions that wait for each other's snapshots would deadlock. The lock ends with the
-- session.
SELECT pg_try_advisory_lock(%(lock)s) AS is_free;
