-- name: list_tables
-- Every table with its own rows, and whether it has a tenant column. Tables in the schema of a restore do not count as tenant
-- tables. The keys of an export (ownership.py) are no part of the database, and a dump does not contain the tables of extensions.
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
-- The sizes of the tables without indexes, largest first. A concurrently dropped table has no size.
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

-- name: database_properties
-- The properties from CREATE DATABASE and ALTER DATABASE, and the roles that a restore with owners needs. The locale's columns
-- have other names in each major version.
SELECT
    pg_encoding_to_char(encoding) AS encoding,
    datcollate AS collation,
    datctype AS character_type,
    datlocprovider::text AS provider,
    coalesce(to_jsonb(own) ->> 'datlocale', to_jsonb(own) ->> 'daticulocale') AS provider_locale,
    to_jsonb(own) ->> 'daticurules' AS rules,
    pg_get_userbyid(datdba)::text AS owner,
    datconnlimit AS connection_limit,
    shobj_description(oid, 'pg_database') AS comment,
    coalesce(
        (
            SELECT
                jsonb_agg(
                    jsonb_build_array(coalesce(role.rolname, ''), granted.privilege_type, granted.is_grantable)
                    ORDER BY role.rolname, granted.privilege_type
                )
            FROM aclexplode(coalesce(own.datacl, acldefault('d', own.datdba))) AS granted
            LEFT JOIN pg_roles AS role ON granted.grantee = role.oid
            WHERE granted.grantee <> own.datdba
        ), '[]'
    ) AS privileges,
    coalesce(
        (
            SELECT
                jsonb_agg(
                    jsonb_build_array(coalesce(role.rolname, ''), assignment.name_and_value)
                    ORDER BY role.rolname, assignment.name_and_value
                )
            FROM pg_db_role_setting AS setting
            LEFT JOIN pg_roles AS role ON setting.setrole = role.oid
            CROSS JOIN unnest(setting.setconfig) AS assignment (name_and_value)
            WHERE setting.setdatabase = own.oid
        ), '[]'
    ) AS settings,
    (
        SELECT jsonb_agg(DISTINCT role.rolname)
        FROM pg_roles AS role
        WHERE
            role.oid IN (
                SELECT needed.refobjid FROM pg_shdepend AS needed
                WHERE
                    needed.refclassid = 'pg_authid'::regclass
                    AND (needed.dbid = own.oid OR (needed.classid = own.tableoid AND needed.objid = own.oid))
            )
            -- The first superuser, whose objects are not listed there.
            OR role.oid = 10
    ) AS roles,
    coalesce(
        (
            SELECT jsonb_agg(jsonb_build_array(place.spcname, stored.name) ORDER BY place.spcname, stored.name)
            FROM (
                SELECT
                    own.dattablespace AS place,
                    '' AS name
                WHERE
                    own.dattablespace <> (
                        SELECT oid FROM pg_tablespace
                        WHERE spcname = 'pg_default'
                    )
                UNION ALL
                SELECT
                    reltablespace,
                    format('%s.%s', relnamespace::regnamespace, relname)
                FROM pg_class
                WHERE reltablespace <> 0 AND NOT relisshared AND relkind <> 't'
            ) AS stored
            INNER JOIN pg_tablespace AS place ON stored.place = place.oid
        ), '[]'
    ) AS tablespaces
FROM pg_database AS own
WHERE datname = current_database();

-- name: database_number
SELECT oid::bigint
FROM pg_database
WHERE datname = %(database)s;

-- name: structure
-- The catalogue's rows that pg_dump reads by oid. A change gives a row another transaction.
SELECT md5(string_agg(format('%s %s', object.oid, object.xmin), ',' ORDER BY object.oid, object.xmin::text))
FROM (
    SELECT
        oid,
        xmin
    FROM pg_class
    WHERE relpersistence <> 't'
    UNION ALL
    SELECT
        type.oid,
        type.xmin
    FROM pg_type AS type
    INNER JOIN pg_namespace AS namespace ON type.typnamespace = namespace.oid
    WHERE namespace.nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT
        oid,
        xmin
    FROM pg_proc
    UNION ALL
    SELECT
        oid,
        xmin
    FROM pg_rewrite
    UNION ALL
    SELECT
        oid,
        xmin
    FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_'
) AS object;

-- name: speak_english
-- English server messages, if the login may choose the language.
SELECT set_config('lc_messages', 'C', false)
WHERE has_parameter_privilege('lc_messages', 'SET');
