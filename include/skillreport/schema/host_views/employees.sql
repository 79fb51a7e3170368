-- Former employees. The host spells the status in several ways. Employees without a status are current.
CREATE OR REPLACE VIEW batch.all_employment AS
SELECT
    employee_id, tenant_id, employee_code, full_name, email,
    NOT is_deleted
    AND coalesce(upper(btrim(employment_status)), '') NOT IN ('RETIRED', 'RESIGNED', 'TERMINATED', 'LEFT', '退職')
    AND coalesce(upper(btrim(employee_status)), '') NOT IN ('RETIRED', 'RESIGNED', 'TERMINATED', 'LEFT', '退職') AS is_employed,
    department_code,
    job_type_id
FROM batch.all_employee;

-- Employees of the transaction's tenants, including former ones. Read-only despite the check option.
CREATE OR REPLACE VIEW batch.tenant_employee WITH (security_barrier) AS
SELECT employee_id, tenant_id, employee_code, email, is_employed
FROM batch.all_employment
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_employee TO batch_tenant;

-- Mailboxes of former employees that no current employee has.
CREATE OR REPLACE VIEW batch.all_former_mailbox AS
SELECT
    tenant_id,
    lower(email) AS email
FROM batch.all_employment
WHERE email IS NOT null
GROUP BY tenant_id, lower(email)
HAVING NOT bool_or(is_employed);

GRANT SELECT ON batch.all_employment, batch.all_former_mailbox TO batch_platform;
