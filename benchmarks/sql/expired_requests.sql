-- name: expired_requests
INSERT INTO "SYS_SystemLog" (id, log_level, message, request_url, created_at, updated_at)
SELECT
    gen_random_uuid()::text AS id,
    'INFO' AS log_level,
    'expired' AS message,
    '/api/skills/' || number AS request_url,
    timestamp '2026-01-01' + number * interval '1 second' AS created_at,
    timestamp '2026-01-01' AS updated_at
FROM generate_series(1, %(rows)s) AS number;
