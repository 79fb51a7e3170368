-- The month's letters that no sender has ever claimed; one that an operator has queued again may have arrived, and stays. A
-- sender that is claiming one goes first.
DELETE FROM batch.outbox
WHERE
    tenant_id = %(tenant_id)s AND starts_with(dedupe_key, %(occasion)s)
    AND status = 'pending' AND decided_by IS null;
