SELECT dump_bytes
FROM batch.backup
WHERE dump_bytes IS NOT null AND verified_at IS NOT null AND execution_id IS DISTINCT FROM %(execution_id)s
ORDER BY verified_at DESC
LIMIT 1;
