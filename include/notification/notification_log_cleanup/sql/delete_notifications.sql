-- A row that is what the archive holds is still as finished and as old as it was then. One that somebody holds is left for the
-- next run: this must wait for nobody's transaction.
WITH unchanged AS (
    SELECT notification.id
    FROM batch.tenant_notification AS notification
    WHERE
        notification.id = any(%(ids)s) AND notification.tenant_id = %(tenant_id)s
        AND sha256(convert_to(row_to_json(notification)::text, 'UTF8')) = any(%(digests)s)
        AND notification.id <> all(
            array(
                SELECT message.host_log_id FROM batch.outbox AS message
                WHERE message.tenant_id = %(tenant_id)s AND message.host_log_id = any(%(ids)s) AND message.finished_at IS null
            )
        )
    FOR UPDATE SKIP LOCKED
)

DELETE FROM batch.tenant_notification
WHERE id = any(array(SELECT id FROM unchanged));
