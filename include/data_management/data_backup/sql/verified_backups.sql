SELECT
    business_date,
    backup_id
FROM batch.backup
WHERE status = 'verified'
ORDER BY snapshot_at;
