-- What a run has changed and nobody has taken back, with the settings as they are now.
SELECT
    change.tenant_id,
    change.setting_key,
    change.kind,
    change.old_value,
    change.old_modified_by,
    change.new_value,
    change.old_applied_value,
    change.old_applied_source,
    setting.setting_value,
    setting.is_deleted,
    setting.last_modified_by
FROM batch.setting_change AS change
LEFT JOIN batch.tenant_setting AS setting
    ON change.tenant_id = setting.tenant_id AND change.setting_key = setting.setting_key
WHERE change.execution_id = %(execution_id)s AND change.undone_by IS null
ORDER BY change.tenant_id ASC, change.setting_key ASC, change.changed_at DESC;
