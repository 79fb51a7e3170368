-- name: log_days
-- Days of the application's request log, oldest first. The rows of a day are spread evenly over it. Several servers of the
-- application write at the same time, so neighbouring rows may be some seconds out of order. first_day is UTC.
INSERT INTO "SYS_SystemLog" (
    id, log_level, log_category, message, user_id, ip_address, user_agent, request_url, request_method, response_status,
    response_time, created_at, updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    'INFO' AS log_level,
    'API' AS log_category,
    'request completed' AS message,
    lpad((mod(number, 5000))::text, 6, '0') AS user_id,
    '10.0.0.1' AS ip_address,
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64)' AS user_agent,
    '/api/skills/' || mod(number, 1000) AS request_url,
    'GET' AS request_method,
    200 AS response_status,
    100 AS response_time,
    created_at,
    created_at AS updated_at
FROM (
    SELECT
        number,
        %(first_day)s::timestamp + number * (interval '1 day' / %(rows_per_day)s::integer)
        + mod(number * 7919, 5) * interval '1 second' AS created_at
    FROM generate_series(0, %(days)s::bigint * %(rows_per_day)s - 1) AS number
) AS request;

-- name: read_period
SELECT count(*)
FROM batch.all_api_request
WHERE requested_at_utc >= %(period_start)s AND requested_at_utc < %(period_end)s;

-- name: read_expired
-- The rows that BATCH-002 reads.
SELECT count(*)
FROM batch.all_system_log
WHERE created_at_utc < %(period_end)s;

-- name: candidate_indexes
SELECT relname AS index_name, pg_relation_size(oid) AS size_bytes
FROM pg_class
WHERE starts_with(relname, 'candidate_') AND relkind = 'i'
ORDER BY relname;
