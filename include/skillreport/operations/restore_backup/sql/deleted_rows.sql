-- name: writable_columns
SELECT attname
FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum;
