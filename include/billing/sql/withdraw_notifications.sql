-- A letter about an invoice that was taken back, and that nobody has sent yet.
UPDATE batch.tenant_notification
SET is_deleted = true, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = any(%(notification_ids)s) AND upper(send_status) = 'PENDING';
