DELETE FROM batch.operator_alert AS alert
USING unnest(%(ids)s::text[], %(ids2)s::text[]) AS old (alert_key, channel)
WHERE
    alert.alert_key = old.alert_key
    AND alert.channel = old.channel
    AND alert.due_at IS null
    AND coalesce(alert.delivered_at, alert.created_at) < %(before)s;
