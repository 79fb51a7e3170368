-- name: many_employees
INSERT INTO "MST_Employee" (id, employee_code, full_name, email, tenant_id, updated_at)
SELECT
    'bench-' || people.number AS id,
    'B' || lpad(people.number::text, 6, '0') AS employee_code,
    '社員 ' || people.number AS full_name,
    'bench' || people.number || '@example.jp' AS email,
    tenant.tenant_id,
    '2026-10-01'::timestamp AS updated_at
FROM "MST_Tenant" AS tenant
CROSS JOIN generate_series(1, %(employees)s) AS people (number);
