-- Runs across tenants, as batch_platform: when somebody of each given tenant was last active, each host table read once.
-- day_end (exclusive) is the end of the business date and run_day_end of the day on which the run is done, both UTC.
--
-- Who has no account that the host knows ('system', an API key, a batch) is nobody, and so is a login that failed. API requests
-- say nothing: a script that nobody looks after makes them for years. Actions are reduced to one row per user before they meet
-- the accounts. Each part keeps to the given tenants by itself, so that one left out cannot break the others.
INSERT INTO batch.inactivity_signal (
    execution_id,
    tenant_id,
    last_activity_on,
    is_active_later,
    created_on,
    contract_start,
    is_trial,
    setting_overrides
)
-- Materialized, so that nothing of a tenant left out is evaluated, whatever order the planner would like for the conditions.
WITH person AS MATERIALIZED (
    SELECT
        user_id,
        tenant_id,
        last_login_at_utc
    FROM batch.all_user
    WHERE tenant_id = any(%(tenant_ids)s::text[])
),

tenant AS MATERIALIZED (
    SELECT
        tenant_id,
        status = 'TRIAL' AS is_trial,
        created_on,
        contract_start
    FROM batch.all_tenant
    WHERE tenant_id = any(%(tenant_ids)s::text[])
),

action AS (
    SELECT
        user_id,
        max(acted_at_utc) FILTER (WHERE acted_at_utc < %(day_end)s) AS last_at_utc,
        bool_or(acted_at_utc >= %(day_end)s) AS is_later
    FROM batch.all_user_action
    WHERE NOT is_failed_login AND acted_at_utc < %(run_day_end)s
    GROUP BY user_id
),

activity AS (
    SELECT
        person.tenant_id,
        max(
            greatest(
                action.last_at_utc,
                CASE WHEN person.last_login_at_utc < %(day_end)s THEN person.last_login_at_utc END
            )
        ) AS last_at_utc,
        bool_or(
            coalesce(action.is_later, false)
            OR coalesce(
                person.last_login_at_utc >= %(day_end)s AND person.last_login_at_utc < %(run_day_end)s, false
            )
        ) AS is_later
    FROM person
    LEFT JOIN action USING (user_id)
    GROUP BY person.tenant_id
),

tenant_setting AS (
    SELECT
        tenant_id,
        jsonb_object_agg(substr(setting_key, length('batch.inactivity.') + 1), setting_value) AS overrides
    FROM batch.all_tenant_setting
    WHERE
        tenant_id = any(%(tenant_ids)s::text[])
        AND starts_with(setting_key, 'batch.inactivity.') AND setting_value IS NOT null
        AND coalesce(effective_from_utc < %(day_end)s, true)
        AND coalesce(effective_until_utc >= %(day_end)s, true)
    GROUP BY tenant_id
)

SELECT
    %(execution_id)s,
    scope.tenant_id,
    -- A moment that is no date ('-infinity') is no activity.
    CASE
        WHEN isfinite(activity.last_at_utc)
            THEN
                greatest(
                    (activity.last_at_utc AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date, kept_login.login_date
                )
        ELSE kept_login.login_date
    END AS last_activity_on,
    coalesce(activity.is_later, false) AS is_active_later,
    -- What begins later has not begun: no day has passed.
    least(tenant.created_on, %(business_date)s::date) AS created_on,
    CASE WHEN tenant.contract_start IS NOT null THEN least(tenant.contract_start, %(business_date)s::date) END AS contract_start,
    coalesce(tenant.is_trial, false) AS is_trial,
    coalesce(tenant_setting.overrides, '{}') AS setting_overrides
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN tenant USING (tenant_id)
LEFT JOIN activity USING (tenant_id)
LEFT JOIN tenant_setting USING (tenant_id)
-- The host's last login is overwritten by the next one and goes with its account: what BATCH-018-01 has kept counts as well.
LEFT JOIN LATERAL (
    SELECT login_day.login_date
    FROM batch.login_day
    WHERE
        login_day.tenant_id = scope.tenant_id AND login_day.login_date <= %(business_date)s
        AND login_day.user_ids <> '{}'
    ORDER BY login_day.login_date DESC
    LIMIT 1
) AS kept_login ON true
-- Two tries at once (a task believed dead, and its retry) may both collect; the first one's rows serve both.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;
