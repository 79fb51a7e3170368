-- name: load_progress
SELECT step, cursor, pages, delta_link, started_over
FROM batch.directory_listing
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;

-- name: begin_listing
-- Start the listing. Also delete this directory's listings of killed runs.
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
    step = excluded.step, cursor = excluded.cursor,
    pages = 0,
    delta_link = '',
    started_over = excluded.started_over,
    started_at = now();

-- name: seed_accounts
-- If the provider lists only changes, the listing starts with the last applied accounts.
INSERT INTO batch.listed_account (
    execution_id, tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
)
SELECT
    %(execution_id)s,
    tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
FROM batch.directory_account
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;

-- name: store_accounts
-- Pages may overlap: an account's last entry counts. Entries contradict each other if they differ in a value that a link depends
-- on. Entries in a list of changes do not, because they are successive.
WITH entry AS (
    SELECT
        account.*,
        jsonb_build_array(
            lower(account.email), account.is_email_verified, account.employee_code, account.kind, account.state
        )::text AS facts
    FROM
        jsonb_to_recordset(%(accounts)s) AS account (
            place integer, external_id text, email text, is_email_verified boolean, employee_code text,
            display_name text, kind text, state text
        )
),

contradictory AS (
    SELECT external_id
    FROM entry
    WHERE NOT %(is_changes)s
    GROUP BY external_id
    HAVING min(facts) <> max(facts)
)

INSERT INTO batch.listed_account AS listed (
    execution_id, tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state,
    is_contradictory
)
SELECT DISTINCT ON (entry.external_id)
    %(execution_id)s,
    %(tenant_id)s,
    %(provider)s,
    entry.external_id,
    entry.email,
    entry.is_email_verified,
    entry.employee_code,
    entry.display_name,
    entry.kind,
    entry.state,
    contradictory.external_id IS NOT null
FROM entry
LEFT JOIN contradictory ON entry.external_id = contradictory.external_id
ORDER BY entry.external_id ASC, entry.place DESC
ON CONFLICT (execution_id, tenant_id, provider, external_id) DO UPDATE SET
    email = excluded.email, is_email_verified = excluded.is_email_verified,
    employee_code = excluded.employee_code, display_name = excluded.display_name, kind = excluded.kind,
    state = excluded.state,
    is_contradictory = listed.is_contradictory OR excluded.is_contradictory OR (
        NOT %(is_changes)s
        AND (
            lower(listed.email), listed.is_email_verified, listed.employee_code, listed.kind, listed.state
        ) IS DISTINCT FROM (
            lower(excluded.email), excluded.is_email_verified, excluded.employee_code, excluded.kind, excluded.state
        )
    );

-- name: remove_accounts
DELETE FROM batch.listed_account
WHERE
    execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
    AND external_id = any(%(removed)s);

-- name: store_channels
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
        place integer, external_id text, parent_id text, name text, kind text, is_archived boolean
    )
ORDER BY channel.external_id ASC, channel.place DESC
ON CONFLICT (execution_id, tenant_id, provider, external_id) DO UPDATE SET
    parent_id = excluded.parent_id, name = excluded.name, kind = excluded.kind,
    is_archived = excluded.is_archived;

-- name: store_progress
UPDATE batch.directory_listing
SET
    step = %(step)s,
    cursor = %(cursor)s,
    pages = pages + 1,
    delta_link = coalesce(%(delta_link)s, delta_link)
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;

-- name: delete_listing
WITH accounts AS (
    DELETE FROM batch.listed_account
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
),

channels AS (
    DELETE FROM batch.listed_channel
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
)

DELETE FROM batch.directory_listing
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;

-- name: discard_listings
-- Unapplied listings: of a dry run, and incomplete ones.
WITH accounts AS (
    DELETE FROM batch.listed_account
    WHERE execution_id = %(execution_id)s
),

channels AS (
    DELETE FROM batch.listed_channel
    WHERE execution_id = %(execution_id)s
)

DELETE FROM batch.directory_listing
WHERE execution_id = %(execution_id)s;
