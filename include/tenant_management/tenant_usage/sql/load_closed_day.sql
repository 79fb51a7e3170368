-- The tenants' day as it was just closed, with what it is held against: plan and contract, the tenant's own settings, the month's
-- calls and the mean of the closed days before. history_start is inclusive.
--
-- LATERAL makes the history a look-up by tenant: row-level security hides from the planner how few rows a shard has.
SELECT
    closed.tenant_id,
    closed.registered_users,
    closed.active_users,
    closed.storage_bytes,
    closed.api_calls,
    closed.reports_generated,
    history.history_days,
    history.mean_active_users,
    history.mean_storage_bytes,
    history.mean_api_calls,
    history.mean_reports_generated,
    signal.subscription_plan,
    signal.max_storage_gb,
    signal.setting_overrides,
    closed.api_calls + coalesce(history.month_api_calls, 0) AS month_api_calls
FROM batch.usage_signal AS signal
INNER JOIN batch.usage_day AS closed
    ON signal.tenant_id = closed.tenant_id AND closed.usage_date = %(business_date)s
CROSS JOIN
    LATERAL (
        SELECT
            sum(past.api_calls) FILTER (WHERE past.usage_date >= %(month_start)s) AS month_api_calls,
            count(*) FILTER (WHERE past.usage_date >= %(history_start)s) AS history_days,
            avg(past.active_users) FILTER (WHERE past.usage_date >= %(history_start)s) AS mean_active_users,
            avg(past.storage_bytes) FILTER (WHERE past.usage_date >= %(history_start)s) AS mean_storage_bytes,
            avg(past.api_calls) FILTER (WHERE past.usage_date >= %(history_start)s) AS mean_api_calls,
            avg(past.reports_generated) FILTER (WHERE past.usage_date >= %(history_start)s) AS mean_reports_generated
        FROM batch.usage_day AS past
        WHERE
            past.tenant_id = signal.tenant_id
            AND past.usage_date >= least(%(month_start)s, %(history_start)s)
            AND past.usage_date < %(business_date)s
    ) AS history
WHERE signal.execution_id = %(execution_id)s
ORDER BY closed.tenant_id;
