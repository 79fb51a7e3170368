-- name: tenants_under_contract
-- Acts as batch_platform. Inactive tenants with a contract and an unended plan on the day, because their usage is billed. The
-- last day is the contract's, or the day before the next plan_change without a plan. Deleted tenants pay nothing more and have no
-- rows, so their days stay unchanged.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL')
    AND NOT EXISTS (
        SELECT FROM batch.deleted_tenant AS gone
        WHERE gone.tenant_id = tenant.tenant_id
    )
    AND coalesce(tenant.contract_start, tenant.created_on) <= %(business_date)s
    AND coalesce(tenant.contract_end, (
        SELECT min(change.effective_from) - 1 FROM batch.plan_change AS change
        WHERE
            change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(business_date)s
    )) >= %(business_date)s
    AND (
        SELECT change.plan IS null FROM batch.plan_change AS change
        WHERE change.tenant_id = tenant.tenant_id AND change.effective_from <= %(business_date)s
        ORDER BY change.effective_from DESC
        LIMIT 1
    ) IS NOT true;

-- name: write_host_usage
-- The application's usage table, in its units: MB of 1,048,576 bytes, UTC timestamps. usage_date is exactly 00:00:00 of the
-- Japanese date, because the table's unique key compares timestamps. Equal figures leave the row unchanged, and so does a tenant
-- that was deleted after its day was closed, because it cannot be counted any more.
INSERT INTO batch.tenant_usage AS usage (
    id, usage_date, tenant_id, active_users, total_logins, api_requests, file_storage_mb, report_generations,
    skill_assessments, notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms,
    collection_timestamp, is_deleted, created_at, updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    %(business_date)s::timestamp AS usage_date,
    tenant_id,
    active_users::integer AS active_users,
    total_logins::integer AS total_logins,
    api_calls AS api_requests,
    round((report_bytes + evidence_bytes) / 1048576, 6) AS file_storage_mb,
    reports_generated::integer AS report_generations,
    skill_assessments::integer AS skill_assessments,
    notifications_sent::integer AS notification_sent,
    peak_concurrent_users::integer AS peak_concurrent_users,
    peak_at AS peak_time,
    error_count::integer AS error_count,
    response_time_avg_ms,
    now() AT TIME ZONE 'UTC' AS collection_timestamp,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM batch.usage_signal
WHERE
    execution_id = %(execution_id)s
    AND NOT (
        is_deleted
        AND EXISTS (
            SELECT FROM batch.usage_day AS known
            WHERE known.tenant_id = usage_signal.tenant_id AND known.usage_date = %(business_date)s
        )
    )
ORDER BY tenant_id
ON CONFLICT (usage_date, tenant_id) DO UPDATE SET
    active_users = excluded.active_users, total_logins = excluded.total_logins,
    api_requests = excluded.api_requests, file_storage_mb = excluded.file_storage_mb,
    report_generations = excluded.report_generations, skill_assessments = excluded.skill_assessments,
    notification_sent = excluded.notification_sent, peak_concurrent_users = excluded.peak_concurrent_users,
    peak_time = excluded.peak_time, error_count = excluded.error_count,
    response_time_avg_ms = excluded.response_time_avg_ms,
    collection_timestamp = excluded.collection_timestamp, is_deleted = excluded.is_deleted,
    updated_at = excluded.updated_at
WHERE (
    usage.active_users,
    usage.total_logins,
    usage.api_requests,
    usage.file_storage_mb,
    usage.report_generations,
    usage.skill_assessments,
    usage.notification_sent,
    usage.peak_concurrent_users,
    usage.peak_time,
    usage.error_count,
    usage.response_time_avg_ms,
    usage.is_deleted
) IS DISTINCT FROM (
    excluded.active_users,
    excluded.total_logins,
    excluded.api_requests,
    excluded.file_storage_mb,
    excluded.report_generations,
    excluded.skill_assessments,
    excluded.notification_sent,
    excluded.peak_concurrent_users,
    excluded.peak_time,
    excluded.error_count,
    excluded.response_time_avg_ms,
    excluded.is_deleted
);

-- name: close_day
-- Close the day, so that billing accepts it. Equal figures leave the row unchanged. Other figures raise its revision. The closed
-- days of deleted tenants stay.
INSERT INTO batch.usage_day AS closed (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count,
    response_time_avg_ms, peak_concurrent_users, storage_bytes, reports_generated, skill_assessments,
    notifications_sent, unplaced_accounts, read_events, unplaced_events, closed_by
)
SELECT
    tenant_id,
    %(business_date)s AS usage_date,
    registered_users, active_users, total_logins, api_calls, error_count, response_time_avg_ms,
    peak_concurrent_users,
    (report_bytes + evidence_bytes)::bigint AS storage_bytes,
    reports_generated,
    skill_assessments,
    notifications_sent,
    unplaced_accounts,
    read_events,
    unplaced_events,
    execution_id AS closed_by
FROM batch.usage_signal
WHERE
    execution_id = %(execution_id)s
    AND NOT (
        is_deleted
        AND EXISTS (
            SELECT FROM batch.usage_day AS known
            WHERE known.tenant_id = usage_signal.tenant_id AND known.usage_date = %(business_date)s
        )
    )
ORDER BY tenant_id
ON CONFLICT (tenant_id, usage_date) DO UPDATE SET
    registered_users = excluded.registered_users, active_users = excluded.active_users,
    total_logins = excluded.total_logins, api_calls = excluded.api_calls, error_count = excluded.error_count,
    response_time_avg_ms = excluded.response_time_avg_ms,
    peak_concurrent_users = excluded.peak_concurrent_users, storage_bytes = excluded.storage_bytes,
    reports_generated = excluded.reports_generated, skill_assessments = excluded.skill_assessments,
    notifications_sent = excluded.notifications_sent,
    unplaced_accounts = excluded.unplaced_accounts, read_events = excluded.read_events,
    unplaced_events = excluded.unplaced_events,
    revision = closed.revision + 1,
    closed_by = excluded.closed_by,
    closed_at = now()
WHERE (
    closed.registered_users,
    closed.active_users,
    closed.total_logins,
    closed.api_calls,
    closed.error_count,
    closed.response_time_avg_ms,
    closed.peak_concurrent_users,
    closed.storage_bytes,
    closed.reports_generated,
    closed.skill_assessments,
    closed.notifications_sent,
    closed.unplaced_accounts,
    closed.read_events,
    closed.unplaced_events
) IS DISTINCT FROM (
    excluded.registered_users,
    excluded.active_users,
    excluded.total_logins,
    excluded.api_calls,
    excluded.error_count,
    excluded.response_time_avg_ms,
    excluded.peak_concurrent_users,
    excluded.storage_bytes,
    excluded.reports_generated,
    excluded.skill_assessments,
    excluded.notifications_sent,
    excluded.unplaced_accounts,
    excluded.read_events,
    excluded.unplaced_events
);

-- name: load_closed_day
-- The tenants' closed day, with the values for comparison: plan and contract, the tenant's own settings, the month's calls, and
-- each metric's mean over earlier closed days and the number of these days with the metric. history_start is inclusive.
--
-- The plan is the day's, because the present one may be later. The history contains TRIAL for every trial. During a trial, the
-- application's plan is the tried one. The allowances of a former trial are unknown.
--
-- LATERAL makes the planner look up the history by tenant, because row-level security hides the small number of a shard's rows.
SELECT
    closed.tenant_id, closed.registered_users, closed.active_users, closed.storage_bytes, closed.api_calls,
    closed.reports_generated, history.days_active_users, history.days_storage_bytes, history.days_api_calls,
    history.days_reports_generated, history.mean_active_users, history.mean_storage_bytes,
    history.mean_api_calls, history.mean_reports_generated, signal.max_storage_gb, signal.setting_overrides,
    closed.unplaced_accounts, closed.unplaced_events,
    signal.is_deleted AND closed.closed_by = signal.execution_id AS is_uncounted,
    coalesce((
        SELECT CASE WHEN change.plan <> 'TRIAL' OR tenant.status <> 'TRIAL' THEN change.plan END
        FROM batch.plan_change AS change
        INNER JOIN batch.tenant ON change.tenant_id = tenant.tenant_id
        WHERE change.tenant_id = signal.tenant_id AND change.effective_from <= %(business_date)s
        ORDER BY change.effective_from DESC
        LIMIT 1
    ), signal.subscription_plan) AS plan,
    closed.api_calls + coalesce(history.month_api_calls, 0) AS month_api_calls
FROM batch.usage_signal AS signal
INNER JOIN batch.usage_day AS closed
    ON signal.tenant_id = closed.tenant_id AND closed.usage_date = %(business_date)s
CROSS JOIN
    LATERAL (
        SELECT
            sum(past.api_calls) FILTER (WHERE past.usage_date >= %(month_start)s) AS month_api_calls,
            count(past.active_users) FILTER (WHERE past.usage_date >= %(history_start)s) AS days_active_users,
            count(past.storage_bytes) FILTER (WHERE past.usage_date >= %(history_start)s) AS days_storage_bytes,
            count(past.api_calls) FILTER (WHERE past.usage_date >= %(history_start)s) AS days_api_calls,
            count(past.reports_generated) FILTER (WHERE past.usage_date >= %(history_start)s) AS days_reports_generated,
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

-- name: record_warnings
-- Each threshold is recorded once per tenant and window (the month for quotas, the day for surges). An existing warning stays
-- unchanged.
INSERT INTO batch.usage_warning (
    tenant_id, kind, metric, threshold_percent, window_start, business_date, observed, reference, raised_by
)
SELECT
    warning.tenant_id, warning.kind, warning.metric, warning.threshold_percent, warning.window_start,
    %(business_date)s,
    warning.observed,
    warning.reference,
    %(execution_id)s AS raised_by
FROM
    jsonb_to_recordset(%(warnings)s) AS warning (
        tenant_id text, kind text, metric text, threshold_percent numeric, window_start date,
        observed numeric, reference numeric
    )
ORDER BY warning.tenant_id
ON CONFLICT (tenant_id, kind, metric, threshold_percent, window_start) DO NOTHING
RETURNING tenant_id, metric, threshold_percent;
