-- name: collect_signals
-- Read each host table once for all tenants of the run: due notifications, and certificates and goals that end within the longest
-- reminder period. Record the assignment of all rows read. Former tenants get only e-mails about invoices.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, status
    FROM batch.all_tenant
),

active AS MATERIALIZED (
    SELECT tenant_id FROM tenant
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND status IN ('ACTIVE', 'TRIAL')
),

employee AS MATERIALIZED (
    SELECT
        person.person_key, person.tenant_id, employed.employee_id, employed.full_name, employed.email
    FROM batch.person_key AS person
    INNER JOIN batch.all_employment AS employed USING (employee_id)
    WHERE person.is_decisive AND person.tenant_id IN (SELECT active.tenant_id FROM active) AND employed.is_employed
),

due_notification AS MATERIALIZED (
    SELECT * FROM batch.all_waiting_notification
    WHERE scheduled_at_utc <= %(cutoff)s
),

due_certificate AS MATERIALIZED (
    SELECT * FROM batch.all_certificate
    WHERE expires_on BETWEEN %(today)s AND %(last_day)s
),

due_goal AS MATERIALIZED (
    SELECT * FROM batch.all_goal
    WHERE is_open AND due_on BETWEEN %(today)s AND %(last_day)s
),

waiting AS (
    SELECT
        notification.tenant_id,
        jsonb_agg(to_jsonb(notification) ORDER BY notification.scheduled_at_utc, notification.id) AS rows
    FROM due_notification AS notification
    WHERE
        notification.tenant_id = any(%(tenant_ids)s)
        AND (notification.is_letter OR notification.tenant_id IN (SELECT active.tenant_id FROM active))
    GROUP BY notification.tenant_id
),

certificates AS (
    SELECT
        certificate.tenant_id,
        jsonb_agg(to_jsonb(certificate) ORDER BY certificate.expires_on, certificate.record_id) AS rows
    FROM (
        SELECT
            due.record_id, employee.tenant_id, employee.employee_id, employee.full_name, employee.email,
            due.certificate_name, due.expires_on
        FROM due_certificate AS due
        INNER JOIN employee USING (person_key)
    ) AS certificate
    GROUP BY certificate.tenant_id
),

goals AS (
    SELECT goal.tenant_id, jsonb_agg(to_jsonb(goal) ORDER BY goal.due_on, goal.goal_id) AS rows
    FROM (
        SELECT
            due.goal_id, employee.tenant_id, employee.employee_id, employee.full_name, employee.email,
            due.goal_title, due.due_on, due.progress_rate
        FROM due_goal AS due
        INNER JOIN employee USING (person_key)
    ) AS goal
    GROUP BY goal.tenant_id
),

reconciled AS (
    INSERT INTO batch.reconciliation (execution_id, source, placement, is_event, row_count)
    SELECT
        %(execution_id)s,
        due.source,
        batch.placement(due.person_key, person.tenant_id, person.reason, due.stated_tenant_id, tenant.status) AS placement,
        -- A certificate that expires soon is due for weeks. It must not make each run partial.
        due.source = 'HIS_NotificationLog' AS is_event,
        count(*) AS row_count
    FROM (
        SELECT 'HIS_NotificationLog' AS source, null AS person_key, tenant_id AS stated_tenant_id
        FROM due_notification
        UNION ALL
        SELECT 'TRN_PDU certificates' AS source, person_key, stated_tenant_id
        FROM due_certificate
        UNION ALL
        SELECT 'TRN_GoalProgress goals' AS source, person_key, stated_tenant_id
        FROM due_goal
    ) AS due
    LEFT JOIN batch.person_key AS person ON due.person_key = person.person_key AND person.is_decisive
    LEFT JOIN tenant ON due.stated_tenant_id = tenant.tenant_id
    GROUP BY due.source, placement
    ORDER BY due.source, placement
    -- The first pass counts. A retry after a kill no longer finds the notifications that were sent.
    ON CONFLICT (execution_id, source, placement) DO NOTHING
)

INSERT INTO batch.notification_signal (execution_id, tenant_id, waiting, certificates, goals)
SELECT
    %(execution_id)s,
    listed.tenant_id,
    coalesce(waiting.rows, '[]') AS waiting,
    coalesce(certificates.rows, '[]') AS certificates,
    coalesce(goals.rows, '[]') AS goals
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN waiting USING (tenant_id)
LEFT JOIN certificates USING (tenant_id)
LEFT JOIN goals USING (tenant_id)
ON CONFLICT (execution_id, tenant_id) DO UPDATE SET
    waiting = excluded.waiting, certificates = excluded.certificates, goals = excluded.goals;

-- name: former_tenants_with_letters
-- Acts as batch_platform. Inactive tenants with a due e-mail about an invoice.
SELECT DISTINCT notification.tenant_id
FROM batch.all_waiting_notification AS notification
INNER JOIN batch.all_tenant AS tenant ON notification.tenant_id = tenant.tenant_id
WHERE
    notification.is_letter AND notification.scheduled_at_utc <= %(cutoff)s
    AND tenant.status NOT IN ('ACTIVE', 'TRIAL')
ORDER BY notification.tenant_id;

-- name: delete_signals
DELETE FROM batch.notification_signal
WHERE execution_id = %(execution_id)s
RETURNING tenant_id, waiting, certificates, goals;
