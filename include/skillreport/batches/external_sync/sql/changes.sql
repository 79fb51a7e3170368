-- name: save_absences
UPDATE batch.account_link AS link
SET
    absent_on = CASE WHEN entry.kind = 'absent' THEN %(run_date)s::date END,
    is_absence_doubtful = entry.kind = 'absent' AND (entry.after ->> 'is_doubtful')::boolean
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text, after jsonb)
WHERE
    entry.kind IN ('absent', 'returned') AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;

-- name: mirror_accounts
-- Make the known accounts equal to the listing, without writing unchanged rows. Contradictory accounts do not change.
WITH gone AS (
    DELETE FROM batch.directory_account AS known
    WHERE
        known.tenant_id = %(tenant_id)s AND known.provider = %(provider)s
        AND NOT EXISTS (
            SELECT FROM batch.listed_account AS listed
            WHERE
                listed.execution_id = %(execution_id)s AND listed.tenant_id = known.tenant_id
                AND listed.provider = known.provider AND listed.external_id = known.external_id
        )
)

INSERT INTO batch.directory_account AS known (
    tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
)
SELECT
    tenant_id, provider, external_id, email, is_email_verified, employee_code, display_name, kind, state
FROM batch.listed_account
WHERE
    execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s AND NOT is_contradictory
ON CONFLICT (tenant_id, provider, external_id) DO UPDATE SET
    email = excluded.email, is_email_verified = excluded.is_email_verified,
    employee_code = excluded.employee_code, display_name = excluded.display_name, kind = excluded.kind,
    state = excluded.state
WHERE (
    known.email, known.is_email_verified, known.employee_code, known.display_name, known.kind, known.state
) IS DISTINCT FROM (
    excluded.email, excluded.is_email_verified, excluded.employee_code, excluded.display_name, excluded.kind, excluded.state
);

-- name: make_links
INSERT INTO batch.account_link (
    tenant_id, provider, external_id, employee_id, matched_by, linked_on, changed_by
)
SELECT
    %(tenant_id)s,
    %(provider)s,
    entry.subject_id,
    entry.employee_id,
    entry.after ->> 'matched_by' AS matched_by,
    %(run_date)s,
    %(execution_id)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text, employee_id text, after jsonb)
WHERE entry.kind = 'link';

-- name: revive_links
UPDATE batch.account_link AS link
SET status = 'active', linked_on = %(run_date)s, changed_by = %(execution_id)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind = 'relink' AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;

-- name: end_links
UPDATE batch.account_link AS link
SET
    status = 'inactive',
    absent_on = null,
    is_absence_doubtful = false,
    changed_by = %(execution_id)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind = 'deactivate' AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;

-- name: mirror_channels
INSERT INTO batch.directory_channel AS known (
    tenant_id, provider, external_id, parent_id, name, kind, is_archived
)
SELECT tenant_id, provider, external_id, parent_id, name, kind, is_archived
FROM batch.listed_channel
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ON CONFLICT (tenant_id, provider, external_id) DO UPDATE SET
    parent_id = excluded.parent_id, name = excluded.name, kind = excluded.kind,
    is_archived = excluded.is_archived
WHERE (known.parent_id, known.name, known.kind, known.is_archived) IS DISTINCT FROM (
    excluded.parent_id, excluded.name, excluded.kind, excluded.is_archived
);

-- name: save_absent_channels
UPDATE batch.directory_channel AS channel
SET
    absent_on = CASE WHEN entry.kind = 'channel_absent' THEN %(run_date)s::date END,
    is_absence_doubtful = entry.kind = 'channel_absent' AND (entry.after ->> 'is_doubtful')::boolean
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text, after jsonb)
WHERE
    entry.kind IN ('channel_absent', 'channel_returned') AND channel.tenant_id = %(tenant_id)s AND channel.provider = %(provider)s
    AND channel.external_id = entry.subject_id;

-- name: delete_channels
DELETE FROM batch.directory_channel AS channel
USING jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind = 'channel_vanished' AND channel.tenant_id = %(tenant_id)s AND channel.provider = %(provider)s
    AND channel.external_id = entry.subject_id;

-- name: disable_settings
UPDATE batch.tenant_notification_setting AS setting
SET is_enabled = false, updated_at = now() AT TIME ZONE 'UTC'
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE entry.kind = 'disable_setting' AND setting.tenant_id = %(tenant_id)s AND setting.id = entry.subject_id;

-- name: record_changes
INSERT INTO batch.directory_change (
    tenant_id, provider, execution_id, kind, subject_id, employee_id, reason, before, after, plan_hash
)
SELECT
    %(tenant_id)s,
    %(provider)s,
    %(execution_id)s,
    entry.kind, entry.subject_id, entry.employee_id, entry.reason, entry.before, entry.after,
    %(plan_hash)s
FROM
    jsonb_to_recordset(%(entries)s) AS entry (
        kind text, subject_id text, employee_id text, reason text, before jsonb, after jsonb
    )
WHERE entry.kind <> all(%(marks)s);
