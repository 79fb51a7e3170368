-- The host before its multi-tenant migration: all users belong to the only tenant that is not deleted. With a second tenant the
-- subquery fails, and `check` explains it.
CREATE OR REPLACE VIEW batch.only_tenant AS
SELECT tenant_id
FROM "MST_Tenant"
WHERE NOT is_deleted AND coalesce(lower(btrim(status)), '') <> 'deleted';

-- Accounts, with the tenant in their row.
CREATE OR REPLACE VIEW batch.all_account AS
SELECT
    user_id,
    nullif(btrim(login_id), '') AS login_id,
    nullif(btrim(employee_id), '') AS employee_key,
    (SELECT tenant_id FROM batch.only_tenant) AS stated_tenant_id,
    (SELECT tenant_id FROM batch.only_tenant) AS recorded_tenant_id,
    CASE WHEN batch.is_dated(last_login_at) THEN last_login_at END AS last_login_at_utc,
    batch.bounded(created_at) AS created_at_utc,
    is_deleted
FROM "MST_UserAuth";

CREATE OR REPLACE VIEW batch.all_employee AS
SELECT
    id AS employee_id,
    nullif(btrim(employee_code), '') AS employee_code,
    full_name,
    batch.trimmed_address(email) AS email,
    employment_status,
    employee_status,
    is_deleted,
    (SELECT tenant_id FROM batch.only_tenant) AS tenant_id,
    nullif(btrim(department_id), '') AS department_code,
    nullif(btrim(job_type_id), '') AS job_type_id
FROM "MST_Employee";

CREATE OR REPLACE VIEW batch.all_department AS
SELECT
    department_code,
    nullif(btrim(department_name), '') AS department_name,
    (SELECT tenant_id FROM batch.only_tenant) AS tenant_id
FROM "MST_Department";
