-- name: collected_ids
SELECT notification_id
FROM batch.old_notification
WHERE execution_id = %(staging_id)s AND tenant_id = %(tenant_id)s AND notification_id > %(after)s
ORDER BY notification_id
LIMIT %(count)s;

-- name: notifications_to_archive
-- The run's present rows, without rows that the application has reopened since. The statuses are those of
-- batch.all_finished_notification, which a tenant's step must not read.
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

-- name: messages_to_archive
-- The run's present messages, without messages that an operator has requeued or whose notification still exists.
SELECT
    message.message_id,
    (message.finished_at AT TIME ZONE 'UTC')::text AS finished_at,
    row_to_json(message)::text AS line
FROM batch.outbox AS message
WHERE
    message.message_id = any(%(ids)s) AND message.tenant_id = %(tenant_id)s
    AND message.finished_at AT TIME ZONE 'UTC' < %(cutoff)s AND message.dedupe_until <= %(today)s
    AND coalesce(
        message.host_log_id <> all(
            array(
                SELECT shown.id FROM batch.tenant_notification AS shown
                WHERE
                    shown.id = any(
                        array(
                            SELECT other.host_log_id FROM batch.outbox AS other
                            WHERE other.message_id = any(%(ids)s)
                        )
                    )
            )
        ),
        true
    )
ORDER BY message.message_id;

-- name: delete_notifications
-- A row that equals its archived copy is still finished and old enough. Skips locked rows, for the next run, so the statement
-- never waits.
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

-- name: delete_messages
-- See delete_notifications. Notifications are not checked again, because deleted ones do not return under their old id.
WITH unchanged AS (
    SELECT message.message_id
    FROM batch.outbox AS message
    WHERE
        message.message_id = any(%(ids)s) AND message.tenant_id = %(tenant_id)s
        AND sha256(convert_to(row_to_json(message)::text, 'UTF8')) = any(%(digests)s)
    FOR UPDATE SKIP LOCKED
)

DELETE FROM batch.outbox
WHERE message_id = any(array(SELECT message_id FROM unchanged));
