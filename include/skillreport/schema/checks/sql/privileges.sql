-- name: deployer
SELECT
    rolname,
    rolsuper,
    rolcreaterole OR rolsuper AS may_create_roles,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
    has_schema_privilege('public'::regnamespace, 'USAGE') AS may_use_public
FROM pg_roles
WHERE rolname = current_user;

-- name: batch_roles
-- The existing batch roles. "act_as" is SET since PostgreSQL 16, MEMBER before.
SELECT
    rolname,
    pg_has_role(oid, %(act_as)s) AS may_act_as,
    pg_has_role(oid, 'MEMBER WITH ADMIN OPTION') AS may_administer
FROM pg_roles
WHERE rolname = any(%(roles)s);

-- name: missing_privileges
-- Listed privileges that the role lacks, with their columns. An empty column means the entire table. Missing tables and columns
-- are omitted (the privilege of a null column is null). "option" is ' WITH GRANT OPTION' or empty.
SELECT
    wanted.table_name,
    wanted.privilege,
    array_agg(wanted.column_name ORDER BY wanted.column_name) AS columns
FROM
    unnest(%(tables)s::text[], %(columns)s::text[], %(privileges)s::text[])
        AS wanted (table_name, column_name, privilege)
INNER JOIN pg_class AS relation ON wanted.table_name = relation.relname
LEFT JOIN pg_attribute AS attribute
    ON
        relation.oid = attribute.attrelid
        AND wanted.column_name = attribute.attname
        AND NOT attribute.attisdropped
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND relation.relkind IN ('r', 'p')
    AND NOT CASE
        WHEN wanted.column_name = '' THEN has_table_privilege(%(role)s, relation.oid, wanted.privilege || %(option)s)
        ELSE has_column_privilege(%(role)s, relation.oid, attribute.attnum, wanted.privilege || %(option)s)
    END
GROUP BY wanted.table_name, wanted.privilege
ORDER BY wanted.table_name, wanted.privilege;

-- name: role_uses_public
-- True if the views' owner may name tables of schema public. If the role does not exist yet, PUBLIC is checked.
SELECT has_schema_privilege(coalesce(max(rolname::text), 'public')::name, 'public', 'USAGE')
FROM pg_roles
WHERE rolname = %(role)s;

-- name: membership
SELECT
    session_user::text AS login,
    count(role.oid) > 0 AS role_exists,
    coalesce(bool_or(pg_has_role(session_user, role.oid, %(act_as)s)), false) AS may_act_as
FROM (VALUES (%(role)s)) AS wanted (rolname)
LEFT JOIN pg_roles AS role ON wanted.rolname = role.rolname;

-- name: backup_login
SELECT
    rolname, rolsuper,
    rolsuper OR rolcreatedb AS may_create_databases,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
    pg_has_role('pg_write_all_data', 'USAGE') AS may_write
FROM pg_roles
WHERE rolname = current_user;

-- name: rows_hidden_from_login
-- Tables whose row-level security may hide rows from this login, which would make a dump incomplete.
SELECT relation.oid::regclass::text AS name
FROM pg_class AS relation
INNER JOIN pg_roles AS login ON login.rolname = current_user
WHERE
    relation.relkind IN ('r', 'p')
    AND relation.relrowsecurity
    AND NOT login.rolsuper
    AND NOT login.rolbypassrls
    AND (relation.relforcerowsecurity OR NOT pg_has_role(relation.relowner, 'USAGE'))
ORDER BY name;

-- name: granted
-- The relations of a schema on which a role other than their owner has a privilege, also on columns only. The role is null for
-- PUBLIC.
SELECT DISTINCT
    relation.relname, relation.relkind::text AS kind,
    CASE WHEN privilege.grantee <> 0 THEN pg_get_userbyid(privilege.grantee) END::text AS grantee
FROM pg_class AS relation
INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid
CROSS JOIN LATERAL aclexplode(relation.relacl || attribute.attacl) AS privilege
WHERE relation.relnamespace = to_regnamespace(%(schema)s) AND privilege.grantee <> relation.relowner;
