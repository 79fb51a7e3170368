-- name: result_bytes
-- The largest result of a run in the execution log.
SELECT max(octet_length(result::text))::integer FROM batch.execution_log;

-- name: failures_by_code
SELECT error_code, count(*)::integer, min(error_message) FROM batch.tenant_outcome
WHERE status = 'failed'
GROUP BY error_code;

-- name: database_bytes
SELECT pg_database_size(current_database());

-- name: verified_backups
SELECT backup_id FROM batch.backup
WHERE status = 'verified'
ORDER BY backup_id;
