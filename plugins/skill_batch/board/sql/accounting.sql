-- name: accounting_files
-- The files of closed months since a month, or of one month, or those of one run.
SELECT month, handed_over_at, handed_over_by, execution_id, key, sha256, bytes, rows, yen
FROM batch.board_accounting_file
WHERE
    month >= %(since)s AND (%(month)s::date IS null OR month = %(month)s)
    AND (%(execution_id)s::text IS null OR execution_id = %(execution_id)s)
ORDER BY month DESC, key ASC;

-- name: provisional_files
-- The present files of open months since a month, or of one month.
SELECT month, key, sha256, bytes
FROM batch.board_provisional_file
WHERE month >= %(since)s AND (%(month)s::date IS null OR month = %(month)s)
ORDER BY month DESC, key ASC;
