WITH taken AS (
    UPDATE batch.orphan_notice
    SET told_at = now()
    WHERE told_at IS null
    RETURNING
        execution_id,
        detail
)

SELECT detail
FROM taken
ORDER BY execution_id;
