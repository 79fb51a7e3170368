-- name: hidden_tables
-- Tables whose row-level security hides rows from the views, which read as their owner, batch_owner. A table's owner is exempt
-- unless policies are forced. A policy that permits every row hides nothing, unless a restrictive policy applies.
WITH reader AS (
    SELECT
        oid,
        rolsuper OR rolbypassrls AS is_exempt
    FROM pg_roles
    WHERE rolname = 'batch_owner'
),

applied_policy AS (
    SELECT
        policy.polrelid,
        bool_and(policy.polpermissive) AS are_permissive,
        bool_or(
            policy.polcmd = '*'
            AND pg_get_expr(policy.polqual, policy.polrelid) = 'true'
            AND coalesce(pg_get_expr(policy.polwithcheck, policy.polrelid), 'true') = 'true'
        ) AS permit_all
    FROM pg_policy AS policy
    CROSS JOIN reader
    CROSS JOIN LATERAL unnest(policy.polroles) AS named (oid)
    WHERE named.oid = 0 OR pg_has_role(reader.oid, named.oid, 'USAGE')
    GROUP BY policy.polrelid
)

SELECT relation.relname
FROM pg_class AS relation
LEFT JOIN reader ON true
LEFT JOIN applied_policy ON relation.oid = applied_policy.polrelid
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND relation.relname = any(%(tables)s)
    AND relation.relrowsecurity
    AND NOT coalesce(reader.is_exempt, false)
    AND NOT coalesce(
        NOT relation.relforcerowsecurity AND pg_has_role(reader.oid, relation.relowner, 'USAGE'), false
    )
    AND NOT coalesce(applied_policy.are_permissive AND applied_policy.permit_all, false)
ORDER BY relation.relname;

-- name: count_tenants
-- Tenants that are not deleted: the application marks deleted tenants by their status.
SELECT count(*)
FROM public."MST_Tenant"
WHERE is_deleted IS NOT true AND lower(btrim(status)) IS DISTINCT FROM 'deleted';

-- name: tables_with_tenant
SELECT relation.relname
FROM pg_class AS relation
INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND relation.relname = any(%(tables)s)
    AND relation.relname <> 'MST_Tenant'
    AND attribute.attname = 'tenant_id'
    AND NOT attribute.attisdropped
ORDER BY relation.relname;
