-- Runs across tenants, as batch_platform: the active tenants with a stage, as they were judged last, and whether they have
-- reached one that nobody was told of, in whichever run; it counts as told now. Who has no stage any more is no news.
WITH taken AS (
    UPDATE batch.inactivity_change AS change
    SET told_at = now()
    FROM batch.all_tenant AS tenant
    WHERE
        change.reason = 'inactivity' AND change.told_at IS null
        -- Of a tenant that is not active the news waits until it is.
        AND change.tenant_id = tenant.tenant_id AND tenant.status = any(%(active_statuses)s)
    RETURNING change.tenant_id
)

SELECT
    known.stage,
    known.judged_on,
    known.judged_on - known.inactive_since AS days,
    known.last_activity_on,
    tenant.tenant_code,
    tenant.tenant_name,
    known.tenant_id IN (SELECT taken.tenant_id FROM taken) AS is_new
FROM batch.tenant_inactivity AS known
INNER JOIN batch.all_tenant AS tenant ON known.tenant_id = tenant.tenant_id
WHERE known.stage <> 'none' AND tenant.status = any(%(active_statuses)s);
