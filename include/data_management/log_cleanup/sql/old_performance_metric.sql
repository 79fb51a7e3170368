SELECT execution_id
FROM batch.performance_metric
WHERE recorded_at < %(before)s;
