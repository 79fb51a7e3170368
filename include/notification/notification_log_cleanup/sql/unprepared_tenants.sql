SELECT listed.tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.old_notification AS staged
        WHERE
            staged.execution_id = %(staging_id)s AND staged.tenant_id = listed.tenant_id AND staged.notification_id = ''
    )
ORDER BY listed.tenant_id;
