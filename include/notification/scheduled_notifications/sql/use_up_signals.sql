DELETE FROM batch.notification_signal
WHERE execution_id = %(execution_id)s
RETURNING
    tenant_id,
    waiting,
    certificates,
    goals;
