-- Messages of ours that are as old, that no occasion needs any more to be told once only, and whose notification is gone, or
-- goes with this run. The ids are given to the view as an array: it has no other way into the application's table than its key.
INSERT INTO batch.old_notification (execution_id, tenant_id, notification_id)
WITH candidate AS MATERIALIZED (
    SELECT
        message.tenant_id,
        message.message_id,
        message.host_log_id
    FROM unnest(%(tenant_ids)s::text[], %(cutoffs)s::timestamp[]) AS listed (tenant_id, cutoff)
    INNER JOIN batch.outbox AS message
        ON listed.tenant_id = message.tenant_id AND listed.cutoff > message.finished_at AT TIME ZONE 'UTC'
    WHERE message.dedupe_until <= %(today)s
),

present AS MATERIALIZED (
    SELECT
        tenant_id,
        id
    FROM batch.tenant_notification
    WHERE id = any(array(
        SELECT host_log_id FROM candidate
        WHERE host_log_id IS NOT null
    ))
)

SELECT
    %(message_staging_id)s,
    candidate.tenant_id,
    candidate.message_id AS notification_id
FROM candidate
LEFT JOIN present ON candidate.tenant_id = present.tenant_id AND candidate.host_log_id = present.id
LEFT JOIN batch.old_notification AS staged
    ON present.tenant_id = staged.tenant_id AND present.id = staged.notification_id AND staged.execution_id = %(staging_id)s
WHERE present.id IS null OR staged.notification_id IS NOT null
ORDER BY candidate.tenant_id, candidate.message_id
ON CONFLICT (execution_id, tenant_id, notification_id) DO NOTHING;
