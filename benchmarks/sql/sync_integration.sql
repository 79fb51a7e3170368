-- name: sync_integration
INSERT INTO "SYS_IntegrationConfig" (
    id, tenant_id, integration_key, auth_config, connection_config, is_enabled, updated_at
)
SELECT
    'benchmark' AS id,
    tenant_id,
    %(provider)s AS integration_key,
    %(auth_config)s,
    %(connection_config)s,
    true AS is_enabled,
    '2026-10-01'::timestamp AS updated_at
FROM "MST_Tenant";
