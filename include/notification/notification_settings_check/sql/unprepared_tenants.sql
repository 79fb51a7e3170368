SELECT listed.tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.former_mailbox AS prepared
        WHERE prepared.execution_id = %(execution_id)s AND prepared.tenant_id = listed.tenant_id
    )
ORDER BY listed.tenant_id;
