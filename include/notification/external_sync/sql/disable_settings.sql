UPDATE batch.tenant_notification_setting AS setting
SET is_enabled = false, updated_at = now() AT TIME ZONE 'UTC'
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE entry.kind = 'disable_setting' AND setting.tenant_id = %(tenant_id)s AND setting.id = entry.subject_id;
