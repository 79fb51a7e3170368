SELECT
    tenant_id,
    dedupe_key,
    status
FROM batch.outbox
WHERE dedupe_key = any(%(dedupe_keys)s);
