-- name: directory_people
SELECT
    employee_code,
    full_name,
    email
FROM batch.all_employment
WHERE tenant_id = %(tenant_id)s AND is_employed
ORDER BY employee_id
LIMIT 200;
