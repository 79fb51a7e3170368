SELECT
    external_id,
    name,
    kind,
    is_archived,
    parent_id,
    absent_on
FROM batch.directory_channel
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
ORDER BY external_id COLLATE "C";
