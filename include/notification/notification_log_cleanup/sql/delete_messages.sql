-- See delete_notifications.sql. That a notification has come back under its old id is nothing to reckon with.
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
