-- name: cleaned
SELECT
    tenant_id AS unit,
    (details ->> 'filesDeleted')::integer AS deleted,
    (details ->> 'filesCompressed')::integer AS compressed,
    (details ->> 'filesArchived')::integer AS archived,
    (details ->> 'bytesFreed')::integer AS freed,
    (details ->> 'rowsDeleted')::integer AS rows_deleted,
    (details ->> 'untouched')::integer AS untouched
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id;
