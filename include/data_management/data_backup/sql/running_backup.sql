-- Another run that is taking a backup. (One that has died is closed when the next one opens.)
SELECT
    log.execution_id,
    log.dag_id,
    log.run_id
FROM batch.backup AS begun
INNER JOIN batch.execution_log AS log ON begun.execution_id = log.execution_id
WHERE begun.status = 'running' AND log.status = 'running' AND begun.execution_id <> %(execution_id)s
ORDER BY begun.snapshot_at
LIMIT 1;
