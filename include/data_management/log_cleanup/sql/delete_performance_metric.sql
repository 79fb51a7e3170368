DELETE FROM batch.performance_metric
WHERE execution_id = any(%(ids)s) AND recorded_at < %(before)s;
