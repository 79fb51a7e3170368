SELECT delta_link
FROM batch.directory_sync
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;
