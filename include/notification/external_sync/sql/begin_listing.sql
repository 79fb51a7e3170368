-- From the beginning, whatever was there; and without what runs that were killed have left of this directory.
WITH former_accounts AS (
    DELETE FROM batch.listed_account AS listed
    USING batch.directory_listing AS former
    WHERE
        listed.execution_id = former.execution_id AND listed.tenant_id = former.tenant_id
        AND listed.provider = former.provider
        AND former.tenant_id = %(tenant_id)s AND former.provider = %(provider)s
        AND (former.execution_id = %(execution_id)s OR former.started_at < now() - interval '2 days')
),

former_channels AS (
    DELETE FROM batch.listed_channel AS listed
    USING batch.directory_listing AS former
    WHERE
        listed.execution_id = former.execution_id AND listed.tenant_id = former.tenant_id
        AND listed.provider = former.provider
        AND former.tenant_id = %(tenant_id)s AND former.provider = %(provider)s
        AND (former.execution_id = %(execution_id)s OR former.started_at < now() - interval '2 days')
),

former AS (
    DELETE FROM batch.directory_listing
    WHERE
        tenant_id = %(tenant_id)s AND provider = %(provider)s AND execution_id <> %(execution_id)s
        AND started_at < now() - interval '2 days'
)

INSERT INTO batch.directory_listing (execution_id, tenant_id, provider, step, cursor, started_over)
VALUES (%(execution_id)s, %(tenant_id)s, %(provider)s, %(step)s, %(cursor)s, %(started_over)s)
ON CONFLICT (execution_id, tenant_id, provider) DO UPDATE SET
    step = excluded.step,
    cursor = excluded.cursor,
    pages = 0,
    delta_link = '',
    started_over = excluded.started_over,
    started_at = now();
