-- name: monitored_hours
-- 30 requests of every tenant in each of these hours (UTC), a third of them errors in the hours that fail.
INSERT INTO "SYS_SystemLog" (
    id, user_id, request_url, request_method, response_status, response_time, log_level, created_at, updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    account.user_id,
    '/api/skills' AS request_url,
    'GET' AS request_method,
    CASE WHEN hour.fails AND mod(request, 3) = 0 THEN 500 ELSE 200 END AS response_status,
    50 + mod(request * 7, 100) AS response_time,
    'INFO' AS log_level,
    hour.start_at + request * interval '1 minute' AS created_at,
    hour.start_at + request * interval '1 minute' AS updated_at
FROM unnest(%(hours)s::timestamp[], %(fails)s::boolean[]) AS hour (start_at, fails)
CROSS JOIN (
    SELECT min(user_id) AS user_id FROM "MST_UserAuth"
    GROUP BY tenant_id
) AS account
CROSS JOIN generate_series(1, 30) AS request;
