SELECT
    id,
    tenant_id,
    integration_key,
    integration_type,
    endpoint_url,
    auth_config,
    connection_config,
    rate_limit_per_minute
FROM batch.tenant_integration
WHERE coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY tenant_id, updated_at, id;
