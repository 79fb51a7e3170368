SELECT id
FROM batch.all_token
WHERE expires_at_utc < %(before)s;
