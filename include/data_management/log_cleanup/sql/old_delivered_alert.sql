SELECT
    alert_key,
    channel
FROM batch.operator_alert
WHERE delivered_at < %(before)s;
