-- name: open_circuit
INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason, opened_at)
VALUES (%(tenant_id)s, %(channel)s, %(error_code)s, %(reason)s, %(now)s)
ON CONFLICT (tenant_id, channel) DO NOTHING;

-- name: reopen_channels
-- Reopen a closed channel whose settings were changed after it was closed. The integration's key names the channel, or else its
-- type does.
DELETE FROM batch.channel_circuit AS circuit
USING
    batch.tenant_integration AS integration,
    unnest(ARRAY[integration.integration_key, integration.integration_type]) AS spelled (name)
WHERE
    circuit.tenant_id = integration.tenant_id
    AND integration.updated_at AT TIME ZONE 'UTC' > circuit.opened_at
    AND CASE regexp_replace(lower(coalesce(spelled.name, '')), '[^a-z]', '', 'g')
        WHEN 'slack' THEN 'slack'
        WHEN 'teams' THEN 'teams'
        WHEN 'msteams' THEN 'teams'
        WHEN 'microsoftteams' THEN 'teams'
        WHEN 'lineworks' THEN 'line_works'
        WHEN 'line' THEN 'line_works'
    END = circuit.channel;

-- name: suppress_address
INSERT INTO batch.suppressed_address (tenant_id, address, error_code, suppressed_at)
VALUES (%(tenant_id)s, lower(%(address)s), %(error_code)s, %(now)s)
ON CONFLICT (tenant_id, address) DO NOTHING;
