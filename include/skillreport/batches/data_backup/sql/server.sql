-- name: list_tables
-- Every table with its own rows, and whether its rows name their tenant. Tables in the schema of a restore do not count as tenant
-- tables. The keys of an export (ownership.py) are not part of the database, and a dump does not have the tables of extensions.
SELECT
    namespace.nspname AS schema_name,
    relation.relname AS table_name,
    NOT starts_with(namespace.nspname, 'restored_')
    AND EXISTS (
        SELECT FROM pg_attribute AS attribute
        INNER JOIN pg_type AS type ON attribute.atttypid = type.oid
        WHERE
            attribute.attrelid = relation.oid
            AND attribute.attname = 'tenant_id'
            AND NOT attribute.attisdropped
            -- A string of any type: TEXT, VARCHAR(n), CHAR(n), or a domain over one of them.
            AND type.typcategory = 'S'
    ) AS has_tenant,
    relation.oid IN (SELECT inheritance.inhparent FROM pg_inherits AS inheritance) AS has_children
FROM pg_class AS relation
INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
WHERE
    relation.relkind = 'r'
    AND relation.relpersistence <> 't'
    AND namespace.nspname !~ '^pg_'
    AND namespace.nspname NOT IN ('information_schema', 'tenant_export')
    AND NOT EXISTS (
        SELECT FROM pg_depend AS member
        WHERE member.classid = relation.tableoid AND member.objid = relation.oid AND member.deptype = 'e'
    )
ORDER BY namespace.nspname, relation.relname;

-- name: database_bytes
SELECT pg_database_size(current_database());

-- name: limit_lock_waits
-- pg_table_size waits for a table that another session has locked against reading.
SELECT set_config('lock_timeout', %(milliseconds)s::text, false);

-- name: table_sizes
-- The sizes of the tables without their indexes, the largest first. A table that is dropped meanwhile has no size.
SELECT
    sized.schema_name,
    sized.table_name,
    sized.bytes
FROM (
    SELECT
        namespace.nspname AS schema_name,
        relation.relname AS table_name,
        pg_table_size(relation.oid) AS bytes
    FROM pg_class AS relation
    INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
    WHERE
        relation.relkind = 'r'
        AND relation.relpersistence <> 't'
        AND namespace.nspname !~ '^pg_'
        AND namespace.nspname <> 'information_schema'
) AS sized
WHERE sized.bytes IS NOT null
ORDER BY sized.bytes DESC, sized.schema_name ASC, sized.table_name ASC;

-- name: large_object_bytes
SELECT pg_table_size('pg_catalog.pg_largeobject');

-- name: list_databases
SELECT datname
FROM pg_database
WHERE starts_with(datname, %(prefix)s)
ORDER BY datname;

-- name: all_columns
-- The columns of each relation.
SELECT
    namespace.nspname AS schema_name,
    relation.relname AS table_name,
    array_agg(attribute.attname::text) AS column_names
FROM pg_class AS relation
INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid
WHERE
    attribute.attnum > 0
    AND NOT attribute.attisdropped
    AND namespace.nspname !~ '^pg_'
    AND namespace.nspname <> 'information_schema'
GROUP BY namespace.nspname, relation.relname;
