-- The employees once, for all tenants of the run.
INSERT INTO batch.former_mailbox (execution_id, tenant_id, addresses)
SELECT
    %(execution_id)s,
    listed.tenant_id,
    coalesce(former.addresses, '{}') AS addresses
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN (
    SELECT
        mailbox.tenant_id,
        array_agg(mailbox.email) AS addresses
    FROM batch.all_former_mailbox AS mailbox
    WHERE mailbox.tenant_id = any(%(tenant_ids)s)
    GROUP BY mailbox.tenant_id
) AS former ON listed.tenant_id = former.tenant_id
ON CONFLICT (execution_id, tenant_id) DO UPDATE SET addresses = excluded.addresses;
