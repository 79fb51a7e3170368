UPDATE batch.backup SET status = 'deleted', deleted_at = clock_timestamp()
WHERE backup_id = %(backup_id)s;
