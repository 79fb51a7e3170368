-- name: batch_tables
-- The tables of schema batch, and the tables that their foreign keys name.
SELECT
    named.relname::text,
    array(
        SELECT needed.relname::text
        FROM pg_constraint AS key
        INNER JOIN pg_class AS needed ON key.confrelid = needed.oid
        WHERE key.conrelid = named.oid AND key.contype = 'f' AND key.confrelid <> key.conrelid
    )
FROM pg_class AS named
WHERE named.relnamespace = 'batch'::regnamespace AND named.relkind = 'r'
ORDER BY named.relname;
