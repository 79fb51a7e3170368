-- name: notice_orphan
INSERT INTO batch.orphan_notice (execution_id, detail)
VALUES (%(execution_id)s, %(detail)s)
ON CONFLICT (execution_id) DO NOTHING;

-- name: take_notices
WITH taken AS (
    UPDATE batch.orphan_notice
    SET told_at = now()
    WHERE told_at IS null
    RETURNING execution_id, detail
)

SELECT detail
FROM taken
ORDER BY execution_id;
