SELECT
    business_date,
    verified_at,
    backup_id
FROM batch.backup
WHERE status = 'verified'
ORDER BY verified_at, backup_id;
