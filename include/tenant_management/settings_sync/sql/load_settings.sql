-- The settings that are there, and the deleted ones of the given keys: the application's unique key counts those as well.
-- The operators' overrides (batch.*) are not looked at. day_end is the end (exclusive) of the business date, UTC.
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
