-- The listing becomes what is known; rows that are as they were are not written.
WITH gone AS (
    DELETE FROM batch.directory_account AS known
    WHERE
        known.tenant_id = %(tenant_id)s AND known.provider = %(provider)s
        AND NOT EXISTS (
            SELECT FROM batch.listed_account AS listed
            WHERE
                listed.execution_id = %(execution_id)s AND listed.tenant_id = known.tenant_id
                AND listed.provider = known.provider AND listed.external_id = known.external_id
        )
)

INSERT INTO batch.directory_account AS known (
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
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ON CONFLICT (tenant_id, provider, external_id) DO UPDATE SET
    email = excluded.email,
    is_email_verified = excluded.is_email_verified,
    employee_code = excluded.employee_code,
    display_name = excluded.display_name,
    kind = excluded.kind,
    state = excluded.state
WHERE (
    known.email, known.is_email_verified, known.employee_code, known.display_name, known.kind, known.state
) IS DISTINCT FROM (
    excluded.email, excluded.is_email_verified, excluded.employee_code, excluded.display_name, excluded.kind, excluded.state
);
