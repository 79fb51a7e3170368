DELETE FROM batch.all_system_log
WHERE id = any(%(ids)s) AND created_at_utc < %(before)s;
