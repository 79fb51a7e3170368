-- Pages may overlap: what was listed last counts.
INSERT INTO batch.listed_account (
    execution_id, tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
)
SELECT DISTINCT ON (account.external_id)
    %(execution_id)s,
    %(tenant_id)s,
    %(provider)s,
    account.external_id,
    account.email,
    account.is_email_verified,
    account.employee_code,
    account.display_name,
    account.kind,
    account.state
FROM
    jsonb_to_recordset(%(accounts)s) AS account (
        place integer,
        external_id text,
        email text,
        is_email_verified boolean,
        employee_code text,
        display_name text,
        kind text,
        state text
    )
ORDER BY account.external_id ASC, account.place DESC
ON CONFLICT (execution_id, tenant_id, provider, external_id) DO UPDATE SET
    email = excluded.email,
    is_email_verified = excluded.is_email_verified,
    employee_code = excluded.employee_code,
    display_name = excluded.display_name,
    kind = excluded.kind,
    state = excluded.state;
