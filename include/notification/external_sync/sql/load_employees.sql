SELECT
    employee_id,
    employee_code,
    email
FROM batch.tenant_employee
WHERE tenant_id = %(tenant_id)s AND is_employed
ORDER BY employee_id COLLATE "C";
