INSERT INTO batch.directory_channel AS known (
    tenant_id, provider, external_id, parent_id, name, kind, is_archived
)
SELECT
    tenant_id,
    provider,
    external_id,
    parent_id,
    name,
    kind,
    is_archived
FROM batch.listed_channel
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ON CONFLICT (tenant_id, provider, external_id) DO UPDATE SET
    parent_id = excluded.parent_id,
    name = excluded.name,
    kind = excluded.kind,
    is_archived = excluded.is_archived,
    absent_on = null
WHERE (
    known.parent_id, known.name, known.kind, known.is_archived, known.absent_on
) IS DISTINCT FROM (
    excluded.parent_id, excluded.name, excluded.kind, excluded.is_archived, null
);
