-- name: accounting_files
-- The files of closed months since a month, or of one month.
SELECT month, handed_over_at, handed_over_by, key, sha256, bytes, rows
FROM batch.board_accounting_file
WHERE month >= %(since)s AND (%(month)s::date IS null OR month = %(month)s)
ORDER BY month DESC, key ASC;
