-- name: setting_facts
-- An emptied password rule, and a system setting that a user has changed.
INSERT INTO "MST_TenantSettings" (
    id, tenant_id, setting_category, setting_key, data_type, setting_value, is_required, is_system_managed, last_modified_by,
    updated_at
)
SELECT
    'setting_trouble_' || setting_key AS id,
    tenant_id,
    setting_category,
    setting_key,
    data_type,
    setting_value,
    is_required,
    is_system_managed,
    last_modified_by,
    '2026-10-31 02:00' AS updated_at
FROM (
    VALUES
    ('TENANT002', 'SECURITY', 'security.password_min_length', 'INTEGER', '', true, false, null),
    ('default-tenant', 'SYSTEM', 'system.retention_days', 'INTEGER', '30', false, true, 'USER000063')
) AS broken (
    tenant_id, setting_category, setting_key, data_type, setting_value, is_required, is_system_managed, last_modified_by
);
