SELECT
    employee_code AS code,
    full_name AS name,
    department_name AS department,
    has_account,
    last_login_on
FROM batch.report_person
WHERE execution_id = %(execution_id)s
ORDER BY employee_code COLLATE "C", employee_id COLLATE "C";
