-- name: lock_actions
-- Only one run at a time reads the new rows.
LOCK TABLE batch.last_action_state IN SHARE ROW EXCLUSIVE MODE;

-- name: known_until
SELECT read_until_utc
FROM batch.last_action_state;

-- name: save_known_until
INSERT INTO batch.last_action_state AS known (read_until_utc)
VALUES (%(read_until)s)
ON CONFLICT (singleton) DO UPDATE SET read_until_utc = greatest(known.read_until_utc, excluded.read_until_utc);

-- name: collect_signals
-- Acts as batch_platform. The last activity of the given tenants' users, from the known last actions and the new rows since
-- read_from; with reads_all from all rows of the logs. Reads each host table at most once. day_end (exclusive) is the end of the
-- business date, day_start its beginning, run_day_end the end of the day of the run; all are UTC. If reads_logs is false, the new
-- actions come from the hourly batch's counts, otherwise from the logs.
--
-- Actions of the application itself do not count, nor do API requests, because an abandoned script may send them for years.
-- Actions are reduced to one row per key before the keys are resolved. An unknown person's action counts for the tenant in its
-- row.
--
-- MATERIALIZED, so that other tenants' contracts are not evaluated, regardless of the order of the planner's conditions.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, status = 'TRIAL' AS is_trial, created_on, contract_start
    FROM batch.all_tenant
    WHERE tenant_id = any(%(tenant_ids)s::text[])
),

-- The new actions, one row per source and key.
happened AS MATERIALIZED (
    SELECT
        source, person_key, stated_tenant_id,
        max(acted_at_utc) FILTER (WHERE acted_at_utc < %(day_end)s) AS last_at_utc,
        max(acted_at_utc) AS newest_at_utc,
        count(*) FILTER (WHERE acted_at_utc >= %(day_start)s AND acted_at_utc < %(day_end)s) AS event_count
    FROM batch.all_user_action
    WHERE
        %(reads_logs)s
        AND acted_at_utc >= %(read_from)s AND acted_at_utc < %(run_day_end)s
    GROUP BY source, person_key, stated_tenant_id
    UNION ALL
    SELECT
        source, person_key, stated_tenant_id,
        max(last_at_utc) FILTER (WHERE last_at_utc < %(day_end)s) AS last_at_utc,
        max(last_at_utc) AS newest_at_utc,
        sum(row_count) FILTER (WHERE last_at_utc >= %(day_start)s AND last_at_utc < %(day_end)s) AS event_count
    FROM batch.activity_hour
    WHERE
        NOT %(reads_logs)s AND source <> 'SYS_SystemLog' AND last_at_utc IS NOT null
        AND hour_at >= %(read_from)s::timestamp AT TIME ZONE 'UTC'
        AND hour_at < %(run_day_end)s::timestamp AT TIME ZONE 'UTC'
    GROUP BY source, person_key, stated_tenant_id
),

remembered AS (
    INSERT INTO batch.last_action AS known (person_key, stated_tenant_id, last_at_utc)
    SELECT person_key, stated_tenant_id, max(newest_at_utc) AS last_at_utc
    FROM happened
    GROUP BY person_key, stated_tenant_id
    ON CONFLICT (
        person_key, stated_tenant_id) DO UPDATE SET last_at_utc = excluded.last_at_utc
    WHERE excluded.last_at_utc > known.last_at_utc
),

action AS MATERIALIZED (
    SELECT
        happened.*,
        person.tenant_id,
        stated.tenant_id AS stated_tenant,
        batch.placement(
            happened.person_key, person.tenant_id, person.reason, happened.stated_tenant_id, stated.status
        ) AS placement
    FROM (
        SELECT
            source, person_key, stated_tenant_id, last_at_utc, event_count,
            newest_at_utc >= %(day_end)s AS is_later
        FROM happened
        UNION ALL
        -- From all sources together, without counting the day's events.
        SELECT
            null AS source,
            person_key,
            stated_tenant_id,
            CASE WHEN last_at_utc < %(day_end)s THEN last_at_utc END AS last_at_utc,
            0 AS event_count,
            last_at_utc >= %(day_end)s AS is_later
        FROM batch.last_action
        WHERE NOT %(reads_all)s
    ) AS happened
    LEFT JOIN batch.person_key AS person ON happened.person_key = person.person_key AND person.is_decisive
    LEFT JOIN batch.all_tenant AS stated ON happened.stated_tenant_id = stated.tenant_id
),

activity AS (
    SELECT
        tenant_id,
        max(last_at_utc) AS last_at_utc,
        bool_or(is_later) AS is_later
    FROM (
        SELECT batch.placed_tenant(placement, tenant_id, stated_tenant) AS tenant_id, last_at_utc, is_later
        FROM action
        UNION ALL
        SELECT
            person.tenant_id,
            CASE WHEN account.last_login_at_utc < %(day_end)s THEN account.last_login_at_utc END AS last_at_utc,
            account.last_login_at_utc >= %(day_end)s AND account.last_login_at_utc < %(run_day_end)s AS is_later
        FROM batch.all_account AS account
        INNER JOIN batch.person_key AS person ON account.user_id = person.person_key AND person.named_by = 'user_id'
        WHERE NOT account.is_deleted
    ) AS sign
    WHERE tenant_id = any(%(tenant_ids)s::text[])
    GROUP BY tenant_id
),

reconciled AS (
    INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count)
    SELECT %(execution_id)s, source, placement, true AS is_event, sum(event_count)
    FROM action
    GROUP BY source, placement
    HAVING sum(event_count) > 0
    ON CONFLICT (execution_id, source, placement) DO UPDATE SET row_count = excluded.row_count
)

INSERT INTO batch.inactivity_signal (
    execution_id, tenant_id, last_activity_on, is_active_later, created_on, contract_start, is_trial,
    setting_overrides
)
SELECT
    %(execution_id)s,
    scope.tenant_id,
    greatest(
        (activity.last_at_utc AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date, kept_login.login_date
    ) AS last_activity_on,
    coalesce(activity.is_later, false) AS is_active_later,
    -- A start after the business date counts as the business date.
    least(tenant.created_on, %(business_date)s::date) AS created_on,
    CASE WHEN tenant.contract_start IS NOT null THEN least(tenant.contract_start, %(business_date)s::date) END AS contract_start,
    coalesce(tenant.is_trial, false) AS is_trial,
    coalesce(setting.overrides, '{}') AS setting_overrides
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN tenant USING (tenant_id)
LEFT JOIN activity USING (tenant_id)
LEFT JOIN batch.setting_overrides('inactivity', %(tenant_ids)s, %(day_end)s) AS setting USING (tenant_id)
-- The host overwrites the last login and deletes it with the account, so the logins kept by BATCH-018-01 count, too.
LEFT JOIN LATERAL (
    SELECT login_day.login_date
    FROM batch.login_day
    WHERE
        login_day.tenant_id = scope.tenant_id AND login_day.login_date <= %(business_date)s
        AND login_day.user_ids <> '{}'
    ORDER BY login_day.login_date DESC
    LIMIT 1
) AS kept_login ON true
-- Two attempts (a task believed dead, and its retry) may collect concurrently. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;

-- name: begin_tenants
-- A tenant's first row has no stage; the same transaction adds it. The second of two concurrent runs waits here.
INSERT INTO batch.tenant_inactivity (tenant_id, stage, inactive_since, judged_on, entered_on, entered_by)
SELECT
    signal.tenant_id,
    'none' AS stage,
    %(business_date)s AS inactive_since,
    %(business_date)s AS judged_on,
    %(business_date)s AS entered_on,
    %(execution_id)s AS entered_by
FROM batch.inactivity_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s
    AND NOT EXISTS (
        SELECT FROM batch.tenant_inactivity AS known
        WHERE known.tenant_id = signal.tenant_id
    )
ORDER BY signal.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;

-- name: lock_tenants
-- A new stage depends on the previous one, so the second of two concurrent runs waits, and continues from the first one's result.
SELECT known.tenant_id
FROM batch.tenant_inactivity AS known
INNER JOIN batch.inactivity_signal AS signal ON known.tenant_id = signal.tenant_id
WHERE signal.execution_id = %(execution_id)s
ORDER BY known.tenant_id
FOR UPDATE OF known;

-- name: load_signals
-- The tenants' signals and their known state. `reached` lists the stages reached on the business date in any run, so that the
-- day's second run reports the same.
SELECT
    signal.tenant_id, signal.last_activity_on, signal.is_active_later, signal.created_on,
    signal.contract_start, signal.is_trial, signal.setting_overrides,
    known.stage AS known_stage,
    known.last_activity_on AS known_activity_on,
    known.judged_on,
    array(
        SELECT change.to_stage FROM batch.inactivity_change AS change
        WHERE
            change.tenant_id = signal.tenant_id AND change.changed_on = %(business_date)s
            AND change.reason = 'inactivity'
    ) AS reached
FROM batch.inactivity_signal AS signal
INNER JOIN batch.tenant_inactivity AS known ON signal.tenant_id = known.tenant_id
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;
