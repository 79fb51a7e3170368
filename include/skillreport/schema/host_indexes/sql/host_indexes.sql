-- name: indexes_of
-- The indexes that begin with the given column: usable and invalid ones. A partial index does not count. is_mine: the index has
-- the name that this command gives.
SELECT
    named.relname AS name,
    method.amname AS method,
    class.opcname AS operator_class,
    index.indisvalid AND index.indisready AS is_valid,
    index.indnkeyatts AS columns,
    named.relname = %(index_name)s AS is_mine,
    exists(
        SELECT FROM pg_stat_progress_create_index AS progress
        WHERE progress.index_relid = index.indexrelid
    ) AS is_in_progress
FROM pg_index AS index
INNER JOIN pg_class AS named ON index.indexrelid = named.oid
INNER JOIN pg_am AS method ON named.relam = method.oid
INNER JOIN pg_opclass AS class ON index.indclass[0] = class.oid
INNER JOIN pg_attribute AS attribute ON index.indrelid = attribute.attrelid AND index.indkey[0] = attribute.attnum
WHERE
    index.indrelid = to_regclass(%(relation)s) AND attribute.attname = %(column_name)s
    AND index.indpred IS null AND method.amname IN ('btree', 'brin')
ORDER BY index.indisvalid DESC, named.relname = %(index_name)s DESC, named.relname;

-- name: table_state
-- A table's size and changes. rows is null if the table was never analyzed. The counts of changes begin with the server's
-- statistics.
SELECT
    nullif(relation.reltuples, -1)::bigint AS rows,
    pg_relation_size(relation.oid) / current_setting('block_size')::bigint AS pages,
    pg_table_size(relation.oid) AS size_bytes,
    coalesce(pg_stat_get_tuples_inserted(relation.oid), 0) AS inserted,
    coalesce(pg_stat_get_tuples_updated(relation.oid), 0) AS updated,
    coalesce(pg_stat_get_tuples_deleted(relation.oid), 0) AS deleted,
    pg_has_role(relation.relowner, 'USAGE') AS is_owner
FROM pg_class AS relation
WHERE relation.oid = %(relation)s::regclass;

-- name: column_state
-- The statistics of ANALYZE about a column. waiting_share: the rows whose value is the given word, in upper or lower case.
SELECT
    stats.correlation,
    stats.null_frac AS null_share,
    coalesce((
        SELECT sum(common.share)
        FROM unnest(stats.most_common_vals::text::text[], stats.most_common_freqs) AS common (value, share)
        WHERE upper(common.value) = %(word)s
    ), 0) AS waiting_share
FROM pg_stats AS stats
WHERE stats.schemaname = 'public' AND stats.tablename = %(table_name)s AND stats.attname = %(column_name)s;

-- name: growth
-- The share of the rows of the latest week, and the week's length in days. The buckets of the histogram hold equal numbers of
-- rows. The period begins with a bucket, so it may be longer than a week. If the history is shorter, the period is shorter.
WITH known AS (
    SELECT
        stats.histogram_bounds::text::timestamp[] AS bounds,
        1 - stats.null_frac - coalesce((
            SELECT sum(common.share) FROM unnest(stats.most_common_freqs) AS common (share)
        ), 0) AS share
    FROM pg_stats AS stats
    WHERE stats.schemaname = 'public' AND stats.tablename = %(table_name)s AND stats.attname = %(column_name)s
),

bound AS (
    SELECT
        each_bound.moment,
        row_number() OVER (ORDER BY each_bound.moment DESC) - 1 AS buckets,
        max(each_bound.moment) OVER () AS newest,
        count(*) OVER () - 1 AS all_buckets,
        known.share
    FROM known
    CROSS JOIN LATERAL unnest(known.bounds) AS each_bound (moment)
    WHERE isfinite(each_bound.moment)
)

SELECT
    bound.share * bound.buckets / bound.all_buckets AS share,
    extract(EPOCH FROM bound.newest - bound.moment) / 86400 AS days
FROM bound
WHERE bound.newest > bound.moment
ORDER BY
    bound.newest - bound.moment < interval '7 days' ASC,
    CASE WHEN bound.newest - bound.moment >= interval '7 days' THEN bound.buckets END ASC,
    bound.buckets DESC
LIMIT 1;

-- name: has_record
-- Whether schema batch is deployed and has the table.
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

-- name: large_tables
-- The tables of the list that hold more rows than the limit, by the estimate of the last ANALYZE or VACUUM.
SELECT relation.relname
FROM pg_class AS relation
WHERE
    relation.relnamespace = 'public'::regnamespace AND relation.relname = any(%(tables)s)
    AND relation.reltuples > %(rows)s
ORDER BY relation.relname;

-- name: begin_creation
-- Fails if another session creates indexes: two sessions that wait for each other's snapshots would deadlock. The lock ends with
-- the session.
SELECT pg_try_advisory_lock(%(lock)s) AS is_free;
