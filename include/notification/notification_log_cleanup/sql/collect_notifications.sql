-- The application's table once, for all tenants of the run: what finished before the tenant's cutoff and is not about to be sent
-- again. The row with the empty id says that the tenant was looked for.
INSERT INTO batch.old_notification (execution_id, tenant_id, notification_id)
WITH listed AS (
    SELECT
        tenant_id,
        cutoff
    FROM unnest(%(tenant_ids)s::text[], %(cutoffs)s::timestamp[]) AS listed (tenant_id, cutoff)
)

SELECT
    %(staging_id)s,
    listed.tenant_id,
    finished.id AS notification_id
FROM listed
INNER JOIN batch.all_finished_notification AS finished
    ON listed.tenant_id = finished.tenant_id AND listed.cutoff > finished.finished_at_utc
WHERE
    NOT EXISTS (
        SELECT FROM batch.outbox AS message
        WHERE message.tenant_id = finished.tenant_id AND message.host_log_id = finished.id AND message.finished_at IS null
    )
UNION ALL
SELECT
    %(staging_id)s,
    listed.tenant_id,
    '' AS notification_id
FROM listed
-- In the order of the key: two tries at once never wait for each other in a circle.
ORDER BY tenant_id, notification_id
ON CONFLICT (execution_id, tenant_id, notification_id) DO NOTHING;
