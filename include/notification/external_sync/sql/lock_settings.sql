-- Nobody changes them between the look at the world and the change of ours.
SELECT
FROM batch.tenant_notification_setting
WHERE tenant_id = %(tenant_id)s AND id = any(%(setting_ids)s)
ORDER BY id
FOR UPDATE;
