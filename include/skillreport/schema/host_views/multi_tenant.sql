-- The host after its multi-tenant migration. Its VARCHAR(255) tenant columns become text, as in all other tables.

-- Accounts, with the tenant in their row. The column default 'default-tenant' means that the application set no tenant.
CREATE OR REPLACE VIEW batch.all_account AS
SELECT
    user_id,
    nullif(btrim(login_id), '') AS login_id,
    nullif(btrim(employee_id), '') AS employee_key,
    nullif(tenant_id, 'default-tenant')::text AS stated_tenant_id,
    coalesce(tenant_id, 'default-tenant')::text AS recorded_tenant_id,
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
    tenant_id::text AS tenant_id,
    nullif(btrim(department_id), '') AS department_code,
    nullif(btrim(job_type_id), '') AS job_type_id
FROM "MST_Employee";

CREATE OR REPLACE VIEW batch.all_department AS
SELECT
    department_code,
    nullif(btrim(department_name), '') AS department_name,
    tenant_id::text AS tenant_id
FROM "MST_Department";
