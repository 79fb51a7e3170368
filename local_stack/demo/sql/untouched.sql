-- name: untouched
SELECT note
FROM batch.tenant_outcome
CROSS JOIN LATERAL unnest(notes) AS note
WHERE execution_id = %(execution_id)s
ORDER BY note;
