-- name: loop_api_call_count
-- getApiCallCount: requests of the tenant's accounts, their errors, times and busiest hour.
WITH account AS (
    SELECT
        user_id,
        last_login_at
    FROM "MST_UserAuth"
    WHERE tenant_id = %(tenant_id)s AND tenant_id <> 'default-tenant' AND NOT is_deleted
    UNION ALL
    SELECT
        at_default.user_id,
        at_default.last_login_at
    FROM "MST_Employee" AS employee
    INNER JOIN "MST_UserAuth" AS at_default ON employee.id = at_default.employee_id
    WHERE employee.tenant_id = %(tenant_id)s AND at_default.tenant_id = 'default-tenant' AND NOT at_default.is_deleted
    UNION ALL
    SELECT
        homeless.user_id,
        homeless.last_login_at
    FROM "MST_UserAuth" AS homeless
    WHERE
        %(tenant_id)s = 'default-tenant' AND homeless.tenant_id = 'default-tenant' AND NOT homeless.is_deleted
        AND NOT EXISTS (
            SELECT FROM "MST_Employee" AS employee
            WHERE employee.id = homeless.employee_id
        )
),

request AS MATERIALIZED (
    SELECT
        logged.user_id,
        date_trunc('hour', logged.created_at) AS hour,
        logged.response_time,
        coalesce(logged.response_status >= 500, upper(logged.log_level) IN ('ERROR', 'FATAL'), false) AS is_error
    FROM account
    INNER JOIN "SYS_SystemLog" AS logged USING (user_id)
    WHERE
        logged.created_at >= %(day_start)s AND logged.created_at < %(day_end)s
        AND logged.request_url IS NOT null AND NOT logged.is_deleted
),

peak AS (
    SELECT
        count(DISTINCT user_id) AS users,
        hour
    FROM request
    GROUP BY hour
    ORDER BY users DESC, hour ASC
    LIMIT 1
)

SELECT
    count(*) AS api_requests,
    count(*) FILTER (WHERE is_error) AS error_count,
    round(avg(response_time), 3) AS response_time_avg_ms,
    coalesce((SELECT users FROM peak), 0) AS peak_concurrent_users,
    (SELECT hour FROM peak) AS peak_time
FROM request;
