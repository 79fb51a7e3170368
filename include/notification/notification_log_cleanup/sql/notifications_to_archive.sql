-- The run's rows as they are now, without those that the application has taken up again since they were collected.
-- The statuses are those of batch.all_finished_notification, which is not for a tenant's step to read.
SELECT
    notification.id,
    coalesce(notification.sent_at, notification.updated_at, notification.created_at)::text AS finished_at,
    row_to_json(notification)::text AS line
FROM batch.tenant_notification AS notification
WHERE
    notification.id = any(%(ids)s) AND notification.tenant_id = %(tenant_id)s
    AND coalesce(notification.sent_at, notification.updated_at, notification.created_at) < %(cutoff)s
    AND (
        notification.is_deleted OR upper(btrim(notification.send_status)) IN (
            'SUCCESS', 'SENT', 'DELIVERED', 'OPENED', 'FAILED', 'BOUNCED', 'EXPIRED', 'CANCELLED', 'CANCELED', 'SKIPPED'
        )
    )
    AND notification.id <> all(
        array(
            SELECT message.host_log_id FROM batch.outbox AS message
            WHERE message.tenant_id = %(tenant_id)s AND message.host_log_id = any(%(ids)s) AND message.finished_at IS null
        )
    )
ORDER BY notification.id;
