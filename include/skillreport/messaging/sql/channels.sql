-- name: open_circuit
-- Uses the database's clock. The sender's clock may be ahead; a channel whose settings are changed soon afterwards would stay
-- closed.
INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason, opened_at)
VALUES (%(tenant_id)s, %(channel)s, %(error_code)s, %(reason)s, least(%(now)s::timestamptz, now()))
ON CONFLICT (tenant_id, channel) DO NOTHING;

-- name: reopen_channels
-- Reopen a closed channel whose settings were changed after it was closed. The integration's key names the channel, otherwise its
-- type does. A webhook may also be in a setting.
DELETE FROM batch.channel_circuit AS circuit
USING (
    SELECT tenant_id, unnest(ARRAY[integration_key, integration_type]) AS name, updated_at
    FROM batch.tenant_integration
    UNION ALL
    SELECT tenant_id, setting_key AS name, updated_at
    FROM batch.tenant_setting
    WHERE setting_key = 'TEAMS_WEBHOOK_URL'
    UNION ALL
    SELECT tenant_id, notification_type AS name, updated_at
    FROM batch.tenant_notification_setting
    WHERE strpos(channel_config, 'webhook_url') > 0
) AS spelled
WHERE
    circuit.tenant_id = spelled.tenant_id
    AND spelled.updated_at AT TIME ZONE 'UTC' > circuit.opened_at
    AND circuit.channel = %(spellings)s::jsonb ->> regexp_replace(lower(spelled.name), '[^a-z]', '', 'g');
