-- A closed channel whose settings were changed afterwards has been mended, as far as anybody can tell without trying. The key
-- names the channel, or else the type.
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
