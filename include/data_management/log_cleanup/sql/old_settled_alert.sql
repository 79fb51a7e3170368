-- Delivered, or given up.
SELECT
    alert_key,
    channel
FROM batch.operator_alert
WHERE due_at IS null AND coalesce(delivered_at, created_at) < %(before)s;
