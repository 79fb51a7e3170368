-- Accounts and their tenant, before the host's multi-tenant migration: everybody is the one tenant's. With a second tenant the
-- subquery fails instead of guessing; the preflight says so in words.
CREATE VIEW batch.all_user AS
SELECT
    user_id,
    last_login_at AS last_login_at_utc,
    created_at AS created_at_utc,
    (SELECT tenant_id FROM "MST_Tenant") AS tenant_id
FROM "MST_UserAuth"
WHERE NOT is_deleted;

-- Employees under each key by which other rows name them, before the host's multi-tenant migration.
CREATE VIEW batch.all_employee_key AS
SELECT
    employee.id AS employee_id,
    named.employee_key,
    employee.full_name,
    nullif(btrim(employee.email), '') AS email,
    (SELECT tenant_id FROM "MST_Tenant") AS tenant_id
FROM "MST_Employee" AS employee
CROSS JOIN LATERAL (VALUES (employee.id), (employee.employee_code)) AS named (employee_key)
WHERE NOT employee.is_deleted;
