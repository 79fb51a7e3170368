DELETE FROM batch.former_mailbox
WHERE execution_id = %(execution_id)s
RETURNING
    tenant_id,
    addresses;
