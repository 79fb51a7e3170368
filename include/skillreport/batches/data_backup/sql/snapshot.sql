-- name: lockable_tables
-- The tables that pg_dump locks.
SELECT
    namespace.nspname AS schema_name,
    relation.relname AS table_name
FROM pg_class AS relation
INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
WHERE
    relation.relkind IN ('r', 'p')
    AND relation.relpersistence <> 't'
    AND namespace.nspname !~ '^pg_'
    AND namespace.nspname <> 'information_schema'
ORDER BY namespace.nspname, relation.relname;

-- name: begin_snapshot
-- None of these statements takes the snapshot. The wait for a lock is shorter than PostgreSQL's default deadlock_timeout (1 s),
-- so PostgreSQL cancels no migration that waits for a table locked by this transaction.
BEGIN;
SET LOCAL transaction_isolation = 'repeatable read';
SET LOCAL transaction_read_only = on;
SET LOCAL lock_timeout = '500ms';

-- name: end_lock_wait_limit
SET LOCAL lock_timeout = 0;

-- name: export_snapshot
SELECT pg_export_snapshot();

-- name: exclusively_locked_tables
-- This database's tables that another session has locked against reading, for the message.
SELECT DISTINCT relation.oid::regclass::text AS name
FROM pg_locks AS held
INNER JOIN pg_class AS relation ON held.relation = relation.oid
WHERE
    held.granted
    AND held.mode = 'AccessExclusiveLock'
    AND held.database = (
        SELECT oid FROM pg_database
        WHERE datname = current_database()
    )
    AND relation.relkind IN ('r', 'p')
ORDER BY name
LIMIT 3;

-- name: longest_lock_wait
-- The longest wait of another session for a table locked by the session with this process id.
SELECT coalesce(max(clock_timestamp() - waiting.waitstart), interval '0')
FROM pg_locks AS waiting
WHERE NOT waiting.granted AND waiting.locktype = 'relation' AND %(pid)s = any(pg_blocking_pids(waiting.pid));
