DELETE FROM batch.listed_account
WHERE
    execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
    AND external_id = any(%(removed)s);
