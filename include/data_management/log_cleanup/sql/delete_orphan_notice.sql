DELETE FROM batch.orphan_notice
WHERE execution_id = any(%(ids)s) AND told_at < %(before)s;
