-- name: integrate
-- An integration of each tenant. `{}` in the credentials is the tenant.
INSERT INTO "SYS_IntegrationConfig" (
    id, tenant_id, integration_key, auth_config, connection_config, is_enabled, updated_at
)
SELECT
    tenant_id || %(channel)s::text AS id, tenant_id, %(channel)s::text AS integration_key,
    replace(%(auth_config)s::text, '{}', tenant_id) AS auth_config, %(connection_config)s,
    true AS is_enabled, now() - interval '1 day' AS updated_at
FROM "MST_Tenant";

-- name: queue
-- Each tenant's messages with a status: those of the last hour, or finished ones of the last 80 days. The text of each is unique.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at,
    finished_at, error_code, error_class, error_detail, created_by
)
SELECT
    md5(tenant.tenant_id || %(channel)s::text || %(status)s::text || number)::uuid::text AS message_id, tenant.tenant_id,
    %(channel)s::text || %(status)s::text || ':' || number AS dedupe_key, %(channel)s::text AS channel,
    replace(
        replace(%(destination)s::text, '{tenant}', tenant.tenant_id), '{}', mod(number, %(destinations)s::integer)::text
    ) AS destination,
    'お知らせ' AS subject, '本文 ' || tenant.tenant_id || ' ' || number AS body, %(status)s::text AS status,
    CASE %(status)s::text WHEN 'pending' THEN 0 WHEN 'sent' THEN 1 ELSE 5 END AS attempts,
    age.moment AS due_at, age.moment AS next_attempt_at,
    CASE WHEN %(status)s::text <> 'pending' THEN age.moment END AS finished_at,
    CASE WHEN %(status)s::text = 'dead' THEN 'internal_error' END AS error_code,
    CASE WHEN %(status)s::text = 'dead' THEN 'service' END AS error_class,
    CASE WHEN %(status)s::text = 'dead' THEN 'Slack の内部エラー' END AS error_detail, 'benchmark' AS created_by
FROM (
    SELECT tenant_id FROM batch.all_tenant
    ORDER BY tenant_id
    LIMIT %(tenants)s
) AS tenant
CROSS JOIN generate_series(1, %(messages)s) AS number
CROSS JOIN LATERAL (
    SELECT
        now() - CASE %(status)s::text
            WHEN 'sent' THEN (1 + mod(number, 79)) * interval '1 day'
            ELSE interval '1 hour'
        END AS moment
) AS age;
