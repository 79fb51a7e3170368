-- name: collect_signals
-- Read each host table once for all tenants of the run: notifications that are due, and certificates and goals that end within
-- the longest reminder period.
INSERT INTO batch.notification_signal (execution_id, tenant_id, waiting, certificates, goals)
SELECT
    %(execution_id)s,
    listed.tenant_id,
    coalesce(waiting.rows, '[]') AS waiting,
    coalesce(certificates.rows, '[]') AS certificates,
    coalesce(goals.rows, '[]') AS goals
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN (
    SELECT
        notification.tenant_id,
        jsonb_agg(to_jsonb(notification) ORDER BY notification.scheduled_at_utc, notification.id) AS rows
    FROM batch.all_waiting_notification AS notification
    WHERE notification.scheduled_at_utc <= %(cutoff)s AND notification.tenant_id = any(%(tenant_ids)s)
    GROUP BY notification.tenant_id
) AS waiting ON listed.tenant_id = waiting.tenant_id
LEFT JOIN (
    SELECT
        certificate.tenant_id,
        jsonb_agg(to_jsonb(certificate) ORDER BY certificate.expires_on, certificate.record_id) AS rows
    FROM batch.all_expiring_certificate AS certificate
    WHERE
        certificate.expires_on BETWEEN %(today)s AND %(last_day)s
        AND certificate.tenant_id = any(%(tenant_ids)s)
    GROUP BY certificate.tenant_id
) AS certificates ON listed.tenant_id = certificates.tenant_id
LEFT JOIN (
    SELECT goal.tenant_id, jsonb_agg(to_jsonb(goal) ORDER BY goal.due_on, goal.goal_id) AS rows
    FROM batch.all_open_goal AS goal
    WHERE goal.due_on BETWEEN %(today)s AND %(last_day)s AND goal.tenant_id = any(%(tenant_ids)s)
    GROUP BY goal.tenant_id
) AS goals ON listed.tenant_id = goals.tenant_id
ON CONFLICT (execution_id, tenant_id) DO UPDATE SET
    waiting = excluded.waiting, certificates = excluded.certificates, goals = excluded.goals;

-- name: delete_signals
DELETE FROM batch.notification_signal
WHERE execution_id = %(execution_id)s
RETURNING tenant_id, waiting, certificates, goals;
