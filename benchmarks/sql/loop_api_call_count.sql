-- name: loop_api_call_count
-- getApiCallCount: requests of the tenant's people, their errors, times and busiest hour.
WITH person AS MATERIALIZED (
    SELECT person_id, person_key
    FROM loop_person_key
    WHERE tenant_id = %(tenant_id)s
),

request AS MATERIALIZED (
    SELECT
        person.person_id,
        date_trunc('hour', logged.created_at) AS hour,
        logged.response_time,
        coalesce(logged.response_status >= 500, upper(logged.log_level) IN ('ERROR', 'FATAL'), false) AS is_error
    FROM person
    INNER JOIN "SYS_SystemLog" AS logged ON person.person_key = logged.user_id
    WHERE
        logged.created_at >= %(day_start)s AND logged.created_at < %(day_end)s
        AND logged.request_url IS NOT null AND NOT logged.is_deleted
),

peak AS (
    SELECT
        count(DISTINCT person_id) AS users,
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
