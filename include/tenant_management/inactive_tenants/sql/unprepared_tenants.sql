SELECT listed.tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.inactivity_signal AS signal
        WHERE signal.execution_id = %(execution_id)s AND signal.tenant_id = listed.tenant_id
    )
ORDER BY listed.tenant_id;
