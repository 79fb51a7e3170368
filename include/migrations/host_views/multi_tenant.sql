-- Accounts and their tenant, after the host's multi-tenant migration. Its tenant columns are VARCHAR(255); here they are text, as
-- in all other tables.
--
-- MST_UserAuth.tenant_id has a default ('default-tenant')
-- that stays where the application forgot the tenant; MST_Employee.tenant_id has none. So for an account at the default its
-- employee, when it names one by id, says whose it is. (An employee code repeats across tenants and cannot say it.)
--
-- Two branches, because hardly any account needs its employee: joining all accounts with all employees costs more than the rest.
CREATE VIEW batch.all_user AS
SELECT
    user_id,
    tenant_id::text AS tenant_id,
    last_login_at AS last_login_at_utc,
    created_at AS created_at_utc,
    employee_id AS employee_key
FROM "MST_UserAuth"
WHERE tenant_id <> 'default-tenant' AND NOT is_deleted
UNION ALL
SELECT
    account.user_id,
    coalesce(employee.tenant_id, account.tenant_id)::text AS tenant_id,
    account.last_login_at AS last_login_at_utc,
    account.created_at AS created_at_utc,
    account.employee_id AS employee_key
FROM "MST_UserAuth" AS account
LEFT JOIN "MST_Employee" AS employee ON account.employee_id = employee.id
WHERE (account.tenant_id = 'default-tenant' OR account.tenant_id IS null) AND NOT account.is_deleted;

-- Employees, those who have left included.
CREATE VIEW batch.all_employee AS
SELECT
    id AS employee_id,
    employee_code,
    full_name,
    nullif(btrim(email), '') AS email,
    employment_status,
    employee_status,
    is_deleted,
    tenant_id::text AS tenant_id,
    nullif(btrim(department_id), '') AS department_code,
    nullif(btrim(job_type_id), '') AS job_type_id
FROM "MST_Employee";

CREATE VIEW batch.all_department AS
SELECT
    department_code,
    nullif(btrim(department_name), '') AS department_name,
    tenant_id::text AS tenant_id
FROM "MST_Department";
