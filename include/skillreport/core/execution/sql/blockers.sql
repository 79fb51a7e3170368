-- name: blocker
-- A session that blocks this one, first of other logins than these. A prepared transaction has no session.
SELECT
    blocking.pid,
    coalesce(activity.usename, '') AS login,
    coalesce(activity.application_name, '') AS application,
    coalesce(activity.usename = any(%(logins)s::text[]), false) AS is_own
FROM unnest(pg_blocking_pids(%(pid)s)) AS blocking (pid)
LEFT JOIN pg_stat_activity AS activity ON blocking.pid = activity.pid
ORDER BY is_own, blocking.pid
LIMIT 1;

-- name: time_limit
-- In seconds; 0: none.
SELECT setting::float8 / 1000 AS seconds
FROM pg_settings
WHERE name = 'statement_timeout';

-- name: session
SELECT pg_backend_pid() AS pid;
