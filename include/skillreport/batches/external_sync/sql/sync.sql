-- name: list_integrations
SELECT tenant_id, integration_key, integration_type
FROM batch.all_integration
WHERE tenant_id = any(%(tenant_ids)s)
ORDER BY tenant_id;

-- name: load_delta_link
SELECT delta_link
FROM batch.directory_sync
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;

-- name: begin_sync
INSERT INTO batch.directory_sync (tenant_id, provider)
VALUES (%(tenant_id)s, %(provider)s)
ON CONFLICT (tenant_id, provider) DO NOTHING;

-- name: lock_sync
-- The second of two concurrent runs waits here, and then detects that its inputs have changed.
SELECT
FROM batch.directory_sync
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
FOR UPDATE;

-- name: lock_settings
-- Prevents changes of these settings between the check of the inputs and the batch's update.
SELECT
FROM batch.tenant_notification_setting
WHERE tenant_id = %(tenant_id)s AND id = any(%(setting_ids)s)
ORDER BY id
FOR UPDATE;

-- name: end_sync
UPDATE batch.directory_sync
SET
    delta_link = %(delta_link)s,
    synced_on = %(run_date)s,
    synced_by = %(execution_id)s,
    plan_hash = %(plan_hash)s
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;
