DELETE FROM batch.all_token
WHERE id = any(%(ids)s) AND expires_at_utc < %(before)s;
