-- name: count_changes
-- Acts as batch_platform. The number of settings that a run changed for these tenants, and the number of those not undone. If
-- execution_id is an Airflow run id, `executions` lists its executions.
SELECT
    count(*) AS changes,
    count(*) FILTER (WHERE undone_by IS null) AS not_undone,
    array(
        SELECT log.execution_id FROM batch.execution_log AS log
        WHERE log.batch_id = 'BATCH-018-05' AND log.run_id = %(execution_id)s
        ORDER BY log.started_at
    ) AS executions
FROM batch.setting_change
WHERE execution_id = %(execution_id)s AND tenant_id = any(%(tenant_ids)s::text[]);

-- name: lock_changed_settings
-- Keeps the settings that a run changed, including those of no plan, unchanged until the transaction ends. Lock order: as
-- lock_settings.
SELECT setting.id
FROM batch.tenant_setting AS setting
WHERE
    (setting.tenant_id, setting.setting_key) IN (
        SELECT change.tenant_id, change.setting_key
        FROM batch.setting_change AS change
        WHERE change.execution_id = %(execution_id)s AND change.undone_by IS null
    )
ORDER BY setting.tenant_id, setting.setting_key
FOR UPDATE OF setting;

-- name: load_undo
-- A run's changes that are not undone, with the present settings.
SELECT
    change.tenant_id, change.setting_key, change.kind, change.old_value, change.old_modified_by,
    change.new_value, change.old_applied_value, change.old_applied_source, setting.setting_value,
    setting.is_deleted, setting.last_modified_by
FROM batch.setting_change AS change
LEFT JOIN batch.tenant_setting AS setting
    ON change.tenant_id = setting.tenant_id AND change.setting_key = setting.setting_key
WHERE change.execution_id = %(execution_id)s AND change.undone_by IS null
ORDER BY change.tenant_id ASC, change.setting_key ASC, change.changed_at DESC;

-- name: restore_settings
UPDATE batch.tenant_setting AS setting
SET
    setting_value = restored.setting_value,
    is_deleted = restored.is_deleted,
    last_modified_by = restored.last_modified_by,
    updated_at = %(now)s
FROM
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text, setting_key text, setting_value text, is_deleted boolean, last_modified_by text
    )
WHERE setting.tenant_id = restored.tenant_id AND setting.setting_key = restored.setting_key;

-- name: forget_applied
DELETE FROM batch.applied_setting AS known
USING
    jsonb_to_recordset(%(settings)s) AS restored (tenant_id text, setting_key text)
WHERE known.tenant_id = restored.tenant_id AND known.setting_key = restored.setting_key;

-- name: restore_applied
INSERT INTO batch.applied_setting (tenant_id, setting_key, value, source, applied_on, applied_by)
SELECT
    restored.tenant_id, restored.setting_key, restored.applied_value, restored.applied_source,
    %(run_date)s,
    %(actor)s
FROM
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text, setting_key text, applied_value text, applied_source text
    )
WHERE restored.applied_value IS NOT null;

-- name: mark_undone
UPDATE batch.setting_change AS change
SET undone_by = %(actor)s, undone_at = now()
FROM jsonb_to_recordset(%(settings)s) AS restored (tenant_id text, setting_key text)
WHERE
    change.tenant_id = restored.tenant_id AND change.setting_key = restored.setting_key
    AND change.execution_id = %(execution_id)s AND change.undone_by IS null;
