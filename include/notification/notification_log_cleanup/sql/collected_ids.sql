SELECT notification_id
FROM batch.old_notification
WHERE execution_id = %(staging_id)s AND tenant_id = %(tenant_id)s AND notification_id > %(after)s
ORDER BY notification_id
LIMIT %(count)s;
