INSERT INTO batch.listed_channel (execution_id, tenant_id, provider, external_id, parent_id, name, kind, is_archived)
SELECT DISTINCT ON (channel.external_id)
    %(execution_id)s,
    %(tenant_id)s,
    %(provider)s,
    channel.external_id,
    channel.parent_id,
    channel.name,
    channel.kind,
    channel.is_archived
FROM
    jsonb_to_recordset(%(channels)s) AS channel (
        place integer,
        external_id text,
        parent_id text,
        name text,
        kind text,
        is_archived boolean
    )
ORDER BY channel.external_id ASC, channel.place DESC
ON CONFLICT (execution_id, tenant_id, provider, external_id) DO UPDATE SET
    parent_id = excluded.parent_id,
    name = excluded.name,
    kind = excluded.kind,
    is_archived = excluded.is_archived;
