SELECT id
FROM batch.all_system_log
WHERE created_at_utc < %(before)s;
