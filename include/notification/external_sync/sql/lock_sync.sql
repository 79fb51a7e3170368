-- Of two runs at once the second one waits here, and then finds another world than its plan's.
SELECT
FROM batch.directory_sync
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
FOR UPDATE;
