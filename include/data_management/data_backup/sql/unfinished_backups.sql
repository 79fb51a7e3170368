-- What runs have left that came to nothing: begun before this run's own, and their run is not at work any more.
SELECT unfinished.backup_id
FROM batch.backup AS unfinished
INNER JOIN batch.backup AS own ON own.execution_id = %(execution_id)s
LEFT JOIN batch.execution_log AS log ON unfinished.execution_id = log.execution_id
WHERE
    unfinished.status IN ('running', 'failed')
    AND unfinished.snapshot_at < own.snapshot_at
    AND log.status IS DISTINCT FROM 'running'
ORDER BY unfinished.backup_id;
