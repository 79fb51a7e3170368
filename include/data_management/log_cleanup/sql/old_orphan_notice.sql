SELECT execution_id
FROM batch.orphan_notice
WHERE told_at < %(before)s;
