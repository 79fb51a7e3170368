-- How the tenants are, and where the newest check has left them. The month's calls are those of its closed days and of the hours
-- since.
--
-- LATERAL makes the measures a look-up by tenant: row-level security hides from the planner how few rows a shard has.
SELECT
    signal.tenant_id,
    greatest(known.last_activity_at, signal.last_activity_at) AS last_activity_at,
    signal.storage_bytes,
    signal.subscription_plan,
    signal.max_storage_gb,
    signal.contract_end,
    signal.waiting_messages,
    signal.failing_batches,
    signal.monitoring_overrides,
    signal.usage_overrides,
    known.checked_at,
    known.recent,
    coalesce(closed.api_calls, 0) + coalesce(since.api_calls, 0) AS month_api_calls
FROM batch.monitoring_signal AS signal
INNER JOIN batch.monitored_tenant AS known ON signal.tenant_id = known.tenant_id
CROSS JOIN
    LATERAL (
        SELECT
            sum(day.api_calls) AS api_calls,
            max(day.usage_date) AS until
        FROM batch.usage_day AS day
        WHERE
            day.tenant_id = signal.tenant_id AND day.usage_date >= %(month_start)s AND day.usage_date < %(today)s
    ) AS closed
CROSS JOIN
    LATERAL (
        SELECT sum(measure.api_calls) AS api_calls
        FROM batch.hourly_measure AS measure
        WHERE
            measure.tenant_id = signal.tenant_id
            AND measure.hour_at >= coalesce(closed.until + 1, %(month_start)s)::timestamp AT TIME ZONE 'Asia/Tokyo'
            AND measure.hour_at < %(check_at)s
    ) AS since
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;
