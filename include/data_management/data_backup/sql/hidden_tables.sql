-- Tables of which row-level security may hide rows from this login: it would dump less than there is.
SELECT relation.oid::regclass::text AS name
FROM pg_class AS relation
INNER JOIN pg_roles AS login ON login.rolname = current_user
WHERE
    relation.relkind IN ('r', 'p')
    AND relation.relrowsecurity
    AND NOT login.rolsuper
    AND NOT login.rolbypassrls
    AND (relation.relforcerowsecurity OR NOT pg_has_role(relation.relowner, 'USAGE'))
ORDER BY 1;
