-- Accounts and their tenant, before the host's multi-tenant migration: everybody is the one tenant's. With a second tenant the
-- subquery fails instead of guessing; the preflight says so in words.
CREATE VIEW batch.all_user AS
SELECT
    user_id,
    last_login_at AS last_login_at_utc,
    created_at AS created_at_utc,
    (SELECT tenant_id FROM "MST_Tenant") AS tenant_id,
    employee_id AS employee_key
FROM "MST_UserAuth"
WHERE NOT is_deleted;

-- Employees, those who have left included, before the host's multi-tenant migration.
CREATE VIEW batch.all_employee AS
SELECT
    id AS employee_id,
    employee_code,
    full_name,
    nullif(btrim(email), '') AS email,
    employment_status,
    employee_status,
    is_deleted,
    (SELECT tenant_id FROM "MST_Tenant") AS tenant_id,
    nullif(btrim(department_id), '') AS department_code,
    nullif(btrim(job_type_id), '') AS job_type_id
FROM "MST_Employee";

CREATE VIEW batch.all_department AS
SELECT
    department_code,
    nullif(btrim(department_name), '') AS department_name,
    (SELECT tenant_id FROM "MST_Tenant") AS tenant_id
FROM "MST_Department";
