-- name: lock_settings
-- Keeps the compared settings unchanged until the transaction ends. The application waits until then.
SELECT id
FROM batch.tenant_setting
WHERE setting_key = any(%(setting_keys)s::text[])
ORDER BY tenant_id, setting_key
FOR UPDATE;

-- name: load_settings
-- The present settings, and the deleted ones of the given keys, because the application's unique key includes deleted rows. The
-- operators' overrides (batch.*) are omitted. day_end is the end (exclusive) of the business date, UTC.
SELECT
    tenant_id,
    id,
    setting_key AS key,
    setting_value AS value,
    setting_category AS category,
    data_type,
    validation_rules,
    coalesce(is_required, false) AS is_required,
    coalesce(is_encrypted, false) AS is_encrypted,
    coalesce(is_system_managed, false) AS is_system_managed,
    is_deleted,
    coalesce(effective_from < %(day_end)s, true) AND coalesce(effective_until >= %(day_end)s, true) AS is_in_effect,
    coalesce(effective_until < effective_from, false) AS is_reversed,
    last_modified_by
FROM batch.tenant_setting
WHERE
    NOT starts_with(setting_key, 'batch.')
    AND (NOT is_deleted OR setting_key = any(%(setting_keys)s::text[]))
ORDER BY tenant_id, setting_key;

-- name: load_applied
SELECT tenant_id, setting_key, value, source
FROM batch.applied_setting;

-- name: load_undone
-- Settings whose newest change was undone, with the rejected value. Few changes are undone, and these have an index.
SELECT
    undone.tenant_id,
    undone.setting_key,
    undone.new_value,
    undone.kind <> 'updated' AS is_added
FROM batch.setting_change AS undone
WHERE
    undone.undone_by IS NOT null
    AND NOT EXISTS (
        SELECT FROM batch.setting_change AS later
        WHERE
            later.tenant_id = undone.tenant_id AND later.setting_key = undone.setting_key
            AND later.changed_at > undone.changed_at
    );

-- name: insert_settings
-- A setting that was added in the meantime does not change.
INSERT INTO batch.tenant_setting (
    id, tenant_id, setting_category, setting_key, setting_name, data_type, setting_value, is_required,
    is_encrypted, is_system_managed, is_user_configurable, last_modified_by, is_deleted, updated_at
)
SELECT
    change.setting_id, change.tenant_id, change.setting_category, change.setting_key, change.setting_name,
    change.data_type, change.new_value,
    false AS is_required,
    false AS is_encrypted,
    false AS is_system_managed,
    false AS is_user_configurable,
    %(actor)s,
    false AS is_deleted,
    %(now)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text, setting_key text, setting_id text, setting_category text, setting_name text, data_type text,
        new_value text
    )
ORDER BY change.tenant_id, change.setting_key
ON CONFLICT (tenant_id, setting_key) DO NOTHING
RETURNING tenant_id, setting_key;

-- name: update_settings
UPDATE batch.tenant_setting AS setting
SET
    setting_value = change.new_value,
    is_deleted = false,
    last_modified_by = %(actor)s,
    updated_at = %(now)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text, setting_key text, kind text, old_value text, new_value text
    )
WHERE
    setting.tenant_id = change.tenant_id AND setting.setting_key = change.setting_key
    AND setting.is_deleted = (change.kind = 'revived')
    AND setting.setting_value IS NOT DISTINCT FROM change.old_value
RETURNING setting.tenant_id, setting.setting_key;

-- name: save_applied
INSERT INTO batch.applied_setting (tenant_id, setting_key, value, source, applied_on, applied_by)
SELECT
    setting.tenant_id, setting.setting_key, setting.value, setting.source,
    %(run_date)s,
    %(actor)s
FROM jsonb_to_recordset(%(settings)s) AS setting (tenant_id text, setting_key text, value text, source text)
ON CONFLICT (tenant_id, setting_key) DO UPDATE SET
    value = excluded.value, source = excluded.source, applied_on = excluded.applied_on,
    applied_by = excluded.applied_by;

-- name: record_changes
INSERT INTO batch.setting_change (
    tenant_id, setting_key, execution_id, kind, old_value, old_modified_by, new_value, old_applied_value,
    old_applied_source, reason, changed_by
)
SELECT
    change.tenant_id,
    change.setting_key,
    %(execution_id)s,
    change.kind, change.old_value, change.old_modified_by, change.new_value, change.old_applied_value,
    change.old_applied_source, change.reason,
    %(actor)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text, setting_key text, kind text, old_value text, old_modified_by text, new_value text,
        old_applied_value text, old_applied_source text, reason text
    );
