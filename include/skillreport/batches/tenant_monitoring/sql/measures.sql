-- name: save_measures
-- Every hour since the last measured one, including quiet hours, because an hour without a row was not measured. Equal figures
-- leave the row unchanged. A figure without a source is null, not 0.
WITH measure AS (
    SELECT
        signal.tenant_id, happened.hour_at, happened.api_calls, happened.errors, happened.responses,
        happened.response_ms, happened.failed_logins
    FROM batch.monitoring_signal AS signal
    CROSS JOIN
        LATERAL jsonb_to_recordset(signal.measures) AS happened (
            hour_at timestamptz, api_calls bigint, errors bigint, responses bigint, response_ms bigint,
            failed_logins bigint
        )
    WHERE signal.execution_id = %(execution_id)s
),

quiet AS (
    SELECT signal.tenant_id, hour.hour_at, signal.has_requests, signal.has_logins
    FROM batch.monitoring_signal AS signal
    CROSS JOIN
        LATERAL generate_series(
            signal.measured_from, %(check_at)s::timestamptz - interval '1 hour', interval '1 hour'
        ) AS hour (hour_at)
    WHERE signal.execution_id = %(execution_id)s
)

INSERT INTO batch.hourly_measure AS kept (
    tenant_id, hour_at, api_calls, errors, responses, response_ms, failed_logins
)
SELECT
    tenant_id,
    hour_at,
    CASE WHEN quiet.has_requests THEN coalesce(measure.api_calls, 0) END AS api_calls,
    CASE WHEN quiet.has_requests THEN coalesce(measure.errors, 0) END AS errors,
    CASE WHEN quiet.has_requests THEN coalesce(measure.responses, 0) END AS responses,
    CASE WHEN quiet.has_requests THEN coalesce(measure.response_ms, 0) END AS response_ms,
    CASE WHEN quiet.has_logins THEN coalesce(measure.failed_logins, 0) END AS failed_logins
FROM quiet
LEFT JOIN measure USING (tenant_id, hour_at)
ORDER BY tenant_id, hour_at
ON CONFLICT (tenant_id, hour_at) DO UPDATE SET
    api_calls = excluded.api_calls, errors = excluded.errors, responses = excluded.responses,
    response_ms = excluded.response_ms, failed_logins = excluded.failed_logins
WHERE (kept.api_calls, kept.errors, kept.responses, kept.response_ms, kept.failed_logins) IS DISTINCT FROM (
    excluded.api_calls,
    excluded.errors,
    excluded.responses,
    excluded.response_ms,
    excluded.failed_logins
);

-- name: delete_measures
DELETE FROM batch.hourly_measure AS measure
USING batch.monitoring_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s AND measure.tenant_id = signal.tenant_id
    AND measure.hour_at < %(kept_from)s;

-- name: load_measures
-- The checked hour, and the hours that it is compared with. Row-level security selects the tenants, because the planner expects
-- one row from a join with their signals and would compare each tenant with the rows of all.
SELECT tenant_id, hour_at, api_calls, errors, responses, response_ms, failed_logins
FROM batch.hourly_measure
WHERE hour_at = any(%(hours)s::timestamptz[]);
