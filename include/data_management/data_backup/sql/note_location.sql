UPDATE batch.backup SET location = %(location)s
WHERE backup_id = %(backup_id)s;
