-- What runs have left that came to nothing: older than this run's own, so that nobody works on it any more.
SELECT unfinished.backup_id
FROM batch.backup AS unfinished
INNER JOIN batch.backup AS own ON own.execution_id = %(execution_id)s
WHERE unfinished.status IN ('running', 'failed') AND unfinished.snapshot_at < own.snapshot_at
ORDER BY unfinished.backup_id;
