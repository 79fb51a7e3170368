-- name: known_tenants
-- Tenants except those with an unknown status, which an operator should check first.
SELECT tenant_id
FROM batch.all_tenant
WHERE status <> 'UNKNOWN';

-- name: load_overrides
-- The tenants' own settings at a given time. load_preferences in include/skillreport/messaging/sql/tenants.sql reads the same
-- settings for one shard.
SELECT
    tenant_id,
    jsonb_object_agg(substr(setting_key, length('batch.notification.') + 1), setting_value) AS overrides
FROM batch.all_tenant_setting
WHERE
    tenant_id = any(%(tenant_ids)s) AND setting_value IS NOT null AND starts_with(setting_key, 'batch.notification.')
    AND coalesce(effective_from_utc <= %(now)s, true)
    AND coalesce(effective_until_utc > %(now)s, true)
GROUP BY tenant_id;

-- name: collect_notifications
-- Read the application's table once for all tenants of the run: notifications that finished before the tenant's cutoff and have
-- no unfinished message in the outbox. A row with an empty id records that the tenant was searched. last_cutoff is the latest
-- cutoff.
INSERT INTO batch.old_notification (execution_id, tenant_id, notification_id)
WITH listed AS (
    SELECT tenant_id, cutoff
    FROM unnest(%(tenant_ids)s::text[], %(cutoffs)s::timestamp[]) AS listed (tenant_id, cutoff)
)

SELECT %(staging_id)s, listed.tenant_id, finished.id AS notification_id
FROM listed
INNER JOIN batch.all_finished_notification AS finished
    ON listed.tenant_id = finished.tenant_id AND listed.cutoff > finished.finished_at_utc
WHERE
    -- Follows from the tenant's cutoff. The application's index on sent_at needs this condition.
    (finished.sent_at_utc < %(last_cutoff)s OR finished.sent_at_utc IS null)
    AND NOT EXISTS (
        SELECT FROM batch.outbox AS message
        WHERE message.tenant_id = finished.tenant_id AND message.host_log_id = finished.id AND message.finished_at IS null
    )
    -- A stopped e-mail is withdrawn, but may be sent later.
    AND NOT EXISTS (
        SELECT FROM batch.letter_stop AS stopped
        WHERE stopped.tenant_id = finished.tenant_id AND starts_with(finished.id, 'invoice-' || stopped.invoice_id)
    )
UNION ALL
SELECT %(staging_id)s, listed.tenant_id, '' AS notification_id
FROM listed
-- Key order, so that two concurrent attempts cannot deadlock.
ORDER BY tenant_id, notification_id
ON CONFLICT (execution_id, tenant_id, notification_id) DO NOTHING;

-- name: unprepared_tenants
SELECT listed.tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.old_notification AS staged
        WHERE
            staged.execution_id = %(staging_id)s AND staged.tenant_id = listed.tenant_id AND staged.notification_id = ''
    )
ORDER BY listed.tenant_id;

-- name: collect_messages
-- Messages before the cutoff that no longer prevent a second message about the same event. Their notification is already deleted,
-- or this run deletes it. The view gets the ids as an array, because it can use only the primary key's index.
INSERT INTO batch.old_notification (execution_id, tenant_id, notification_id)
WITH candidate AS MATERIALIZED (
    SELECT message.tenant_id, message.message_id, message.host_log_id
    FROM unnest(%(tenant_ids)s::text[], %(cutoffs)s::timestamp[]) AS listed (tenant_id, cutoff)
    INNER JOIN batch.outbox AS message
        ON listed.tenant_id = message.tenant_id AND listed.cutoff > message.finished_at AT TIME ZONE 'UTC'
    WHERE message.dedupe_until <= %(today)s
),

present AS MATERIALIZED (
    SELECT tenant_id, id
    FROM batch.tenant_notification
    WHERE id = any(array(
        SELECT host_log_id FROM candidate
        WHERE host_log_id IS NOT null
    ))
)

SELECT %(message_staging_id)s, candidate.tenant_id, candidate.message_id AS notification_id
FROM candidate
LEFT JOIN present ON candidate.tenant_id = present.tenant_id AND candidate.host_log_id = present.id
LEFT JOIN batch.old_notification AS staged
    ON present.tenant_id = staged.tenant_id AND present.id = staged.notification_id AND staged.execution_id = %(staging_id)s
WHERE present.id IS null OR staged.notification_id IS NOT null
ORDER BY candidate.tenant_id, candidate.message_id
ON CONFLICT (execution_id, tenant_id, notification_id) DO NOTHING;

-- name: count_collected
-- The number of rows that the run archives per tenant, from the staging rows.
SELECT
    listed.tenant_id,
    count(staged.notification_id) FILTER (WHERE staged.execution_id = %(staging_id)s AND staged.notification_id <> '')
        AS notifications,
    count(staged.notification_id) FILTER (WHERE staged.execution_id = %(message_staging_id)s) AS messages
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN batch.old_notification AS staged
    ON listed.tenant_id = staged.tenant_id AND staged.execution_id IN (%(staging_id)s, %(message_staging_id)s)
GROUP BY listed.tenant_id
ORDER BY listed.tenant_id;

-- name: tenant_code
SELECT tenant_code
FROM batch.tenant;

-- name: discard_staging
DELETE FROM batch.old_notification
WHERE execution_id = any(%(staging_ids)s);
