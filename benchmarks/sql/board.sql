-- name: board_night
-- A run that has failed for a fifth of the tenants.
INSERT INTO batch.execution_log (
    execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, started_at, ended_at,
    total_tenants, success_count, error_count, result
)
VALUES (
    %(execution_id)s, %(batch_id)s, %(dag_id)s, 'scheduled__failed', %(now)s::date - 1, false, '{}', 'benchmark', 'partial',
    %(now)s - interval '2 hours', %(now)s - interval '1 hour', %(tenants)s, %(tenants)s - %(tenants)s / 5, %(tenants)s / 5,
    '{"results": [], "totals": {}}'
);

-- name: board_outcomes
INSERT INTO batch.tenant_outcome (
    execution_id, tenant_id, part, status, details, records, attempts, recorded_at, shard, error_code, error_message
)
SELECT
    %(execution_id)s,
    'tenant-' || to_char(tenant.number, 'FM000000') AS tenant_id,
    '' AS part,
    CASE WHEN mod(tenant.number, 5) = 0 THEN 'failed' ELSE 'success' END AS status,
    '{}' AS details,
    1 AS records,
    1 AS attempts,
    %(now)s - interval '1 hour' AS recorded_at,
    tenant.number / 25 AS shard,
    CASE WHEN mod(tenant.number, 5) = 0 THEN 'UNEXPECTED' END AS error_code,
    CASE WHEN mod(tenant.number, 5) = 0 THEN 'A sentence about the failure' END AS error_message
FROM generate_series(1, %(tenants)s) AS tenant (number);

-- name: board_messages
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at, created_by,
    created_at, finished_at, error_code, error_detail
)
SELECT
    gen_random_uuid()::text AS message_id,
    'tenant-' || to_char(tenant.number, 'FM000000') AS tenant_id,
    'dead' AS dedupe_key,
    'slack' AS channel,
    'channel' AS destination,
    'A subject' AS subject,
    'A line of the message.' AS body,
    'dead' AS status,
    5 AS attempts,
    made.at AS due_at, made.at AS next_attempt_at,
    'benchmark' AS created_by,
    made.at AS created_at, made.at AS finished_at,
    'channel_not_found' AS error_code,
    'The channel does not exist' AS error_detail
FROM generate_series(1, %(tenants)s) AS tenant (number)
CROSS JOIN LATERAL (SELECT %(now)s - interval '3 hours' AS at) AS made;
