-- name: lock_waits
-- The statements that wait for a lock at present, each with one of the statements that block it.
SELECT waiting.query AS waiting_statement, waiting.wait_event, blocking.query AS blocking_statement
FROM pg_stat_activity AS waiting
LEFT JOIN pg_stat_activity AS blocking ON blocking.pid = (pg_blocking_pids(waiting.pid))[1]
WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock';

-- name: workspaces
-- A Slack workspace for each tenant.
INSERT INTO "SYS_IntegrationConfig" (id, tenant_id, integration_key, auth_config, connection_config, updated_at)
SELECT
    tenant_id AS id,
    tenant_id,
    'slack' AS integration_key,
    jsonb_build_object('bot_token', 'xoxb-' || tenant_id)::text AS auth_config,
    %(connection_config)s,
    now() - interval '1 day' AS updated_at
FROM "MST_Tenant";

-- name: letter_queue
-- An e-mail for each tenant. All share the installation's mail server.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by
)
SELECT
    tenant_id || ':letter' AS message_id,
    tenant_id,
    'benchmark:letter' AS dedupe_key,
    'email' AS channel,
    'admin@' || tenant_id || '.example.jp' AS destination,
    'お知らせ' AS subject,
    '本文' AS body,
    now() - interval '1 hour' AS due_at,
    now() - interval '1 hour' AS next_attempt_at,
    'benchmark' AS created_by
FROM batch.all_tenant;
