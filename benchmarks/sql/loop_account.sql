-- name: loop_account
INSERT INTO batch.directory_account (
    tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
)
SELECT
    tenant_id,
    provider,
    external_id,
    email,
    is_email_verified,
    employee_code,
    display_name,
    kind,
    state
FROM batch.listed_account
WHERE
    execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
    AND external_id = %(subject_id)s;
