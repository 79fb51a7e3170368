SELECT
    external_id,
    name,
    kind,
    is_archived,
    parent_id
FROM batch.listed_channel
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ORDER BY external_id COLLATE "C";
