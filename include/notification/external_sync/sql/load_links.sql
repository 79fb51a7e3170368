-- With how each account was last seen; kind is null for one that was in no listing that was applied.
SELECT
    link.external_id,
    link.employee_id,
    link.status = 'active' AS is_active,
    link.absent_on,
    link.is_absence_doubtful,
    account.email,
    account.is_email_verified,
    account.employee_code,
    account.display_name,
    account.kind,
    account.state
FROM batch.account_link AS link
LEFT JOIN batch.directory_account AS account
    ON
        link.tenant_id = account.tenant_id AND link.provider = account.provider
        AND link.external_id = account.external_id
WHERE link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
ORDER BY link.external_id COLLATE "C";
