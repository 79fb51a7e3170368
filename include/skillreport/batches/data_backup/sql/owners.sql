-- name: person_keys
-- The tenant of the rows with each key. Keys without a tenant are omitted, because then the row's own tenant counts. People of
-- deleted and unknown tenants keep their tenant.
SELECT
    named.person_key, named.kind,
    coalesce(person.tenant_id, employee.tenant_id) AS tenant_id
FROM batch.all_person_key AS person
LEFT JOIN batch.all_employee AS employee ON person.employee_id = employee.employee_id
CROSS JOIN
    LATERAL (
        SELECT person.person_key, 'any' AS kind
        WHERE person.is_decisive
        UNION ALL
        SELECT person.person_key, 'employee' AS kind
        WHERE person.named_by IN ('id', 'code')
        UNION ALL
        SELECT person.person_key, 'account' AS kind
        WHERE person.named_by = 'user_id'
    ) AS named
WHERE coalesce(person.tenant_id, employee.tenant_id) IS NOT null;

-- name: leaving_keys
SELECT person_key, kind, tenant_id
FROM batch.leaving_person
WHERE tenant_id IS NOT null;
