-- Where only changes are listed, the listing is what was last applied, and they go on top.
INSERT INTO batch.listed_account (
    execution_id, tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
)
SELECT
    %(execution_id)s,
    tenant_id,
    provider,
    external_id,
    email,
    is_email_verified,
    employee_code,
    display_name,
    kind,
    state
FROM batch.directory_account
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;
