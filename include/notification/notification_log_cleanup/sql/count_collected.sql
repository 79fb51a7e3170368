-- What the run archives of each tenant, tries before this one included: their staging rows are still there, or else (the run was
-- closed in between) their outcome is.
SELECT
    listed.tenant_id,
    greatest(
        count(staged.notification_id) FILTER (WHERE staged.execution_id = %(staging_id)s AND staged.notification_id <> ''),
        (earlier.details ->> 'archivedNotifications')::bigint
    ) AS notifications,
    greatest(
        count(staged.notification_id) FILTER (WHERE staged.execution_id = %(message_staging_id)s),
        (earlier.details ->> 'archivedMessages')::bigint
    ) AS messages
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN batch.old_notification AS staged
    ON listed.tenant_id = staged.tenant_id AND staged.execution_id IN (%(staging_id)s, %(message_staging_id)s)
LEFT JOIN batch.tenant_outcome AS earlier
    ON listed.tenant_id = earlier.tenant_id AND earlier.execution_id = %(execution_id)s
GROUP BY listed.tenant_id, earlier.details
ORDER BY listed.tenant_id;
