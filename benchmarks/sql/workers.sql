-- name: lock_waits
-- The statements that wait for a lock at present, each with one of the statements that block it.
SELECT waiting.query AS waiting_statement, waiting.wait_event, blocking.query AS blocking_statement
FROM pg_stat_activity AS waiting
LEFT JOIN pg_stat_activity AS blocking ON blocking.pid = (pg_blocking_pids(waiting.pid))[1]
WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock';
