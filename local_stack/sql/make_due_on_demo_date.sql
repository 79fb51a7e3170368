-- name: make_due_on_demo_date
UPDATE "HIS_NotificationLog"
SET scheduled_at = '2026-11-01 00:00'
WHERE starts_with(id, 'invoice-') AND send_status = 'PENDING' AND scheduled_at > '2026-11-01 00:00';

UPDATE batch.outbox
SET due_at = '2026-11-01 09:00 +09', next_attempt_at = '2026-11-01 09:00 +09'
WHERE status = 'pending' AND due_at > '2026-11-01 09:00 +09';
