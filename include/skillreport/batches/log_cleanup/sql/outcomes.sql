-- name: cleaned
SELECT tenant_id AS unit_id, status, details
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s
ORDER BY unit_id;
