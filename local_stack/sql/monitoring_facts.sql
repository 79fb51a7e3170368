-- name: monitoring_facts
-- The logistics company has few users on a Sunday. From eight o'clock on it sends many requests, and every eighth fails.
INSERT INTO "SYS_SystemLog" (
    id, log_level, log_category, message, user_id, request_url, request_method, response_status, response_time, error_code,
    created_at, updated_at
)
SELECT
    'log_trouble_' || extract(HOUR FROM hour.start_at) || '_' || number AS id,
    CASE WHEN request.fails THEN 'ERROR' ELSE 'INFO' END AS log_level,
    'API' AS log_category,
    CASE WHEN request.fails THEN 'PUT /api/skills/records 503' ELSE 'PUT /api/skills/records 200' END AS message,
    account.user_id,
    '/api/skills/records' AS request_url,
    'PUT' AS request_method,
    CASE WHEN request.fails THEN 503 ELSE 200 END AS response_status,
    80 + mod(number * 37, 400) AS response_time,
    CASE WHEN request.fails THEN 'BUSY' END AS error_code,
    request.moment AS created_at,
    request.moment AS updated_at
FROM (VALUES ('2026-10-31 23:00'::timestamp), ('2026-11-01 00:00'::timestamp)) AS hour (start_at)
CROSS JOIN generate_series(1, 250) AS number
INNER JOIN (
    SELECT
        user_id,
        row_number() OVER (ORDER BY user_id) AS place
    FROM "MST_UserAuth"
    INNER JOIN "MST_Employee" ON login_id = employee_code
    WHERE "MST_Employee".tenant_id = 'TENANT002'
) AS account ON mod(number, 20) + 1 = account.place
CROSS JOIN LATERAL (
    SELECT
        mod(number, 8) = 0 AS fails,
        hour.start_at + number * interval '14 seconds' AS moment
) AS request;
