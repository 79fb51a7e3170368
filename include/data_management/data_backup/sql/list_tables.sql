-- Every table with rows of its own, and whether its rows say whose they are (not those that a restore has put beside them).
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
            -- A string of any type: TEXT, VARCHAR(n), CHAR(n), a domain over one of them.
            AND type.typcategory = 'S'
    ) AS has_tenant
FROM pg_class AS relation
INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
WHERE
    relation.relkind = 'r'
    AND relation.relpersistence <> 't'
    AND namespace.nspname !~ '^pg_'
    AND namespace.nspname <> 'information_schema'
ORDER BY namespace.nspname, relation.relname;
