-- name: throttled_queue
-- Due messages of these tenants to this many destinations. The text of each is unique.
INSERT INTO batch.outbox (
    message_id,
    tenant_id,
    dedupe_key,
    channel,
    destination,
    subject,
    body,
    due_at,
    next_attempt_at,
    created_by
)
SELECT
    'throttled:' || message.number AS message_id,
    tenant.tenant_id,
    'throttled:' || message.number AS dedupe_key,
    %(channel)s::text AS channel,
    replace(%(destination)s::text, '{}', mod(message.number, %(destinations)s::integer)::text) AS destination,
    'お知らせ' AS subject,
    '本文 ' || message.number AS body,
    now() - interval '1 hour' AS due_at,
    now() - interval '1 hour' AS next_attempt_at,
    'benchmark' AS created_by
FROM generate_series(1, %(messages)s) AS message (number)
INNER JOIN
    unnest(%(tenant_ids)s::text[]) WITH ORDINALITY AS tenant (tenant_id, place)
    ON tenant.place = 1 + mod(message.number, cardinality(%(tenant_ids)s::text[]));
