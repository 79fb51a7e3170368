-- Told once: whoever takes them, reports them.
WITH taken AS (
    UPDATE batch.outbox
    SET reported_at = %(now)s
    WHERE status IN ('dead', 'ambiguous') AND reported_at IS null
    RETURNING
        tenant_id,
        status,
        channel,
        error_detail
)

SELECT
    tenant_id,
    status,
    channel,
    error_detail,
    count(*) AS messages
FROM taken
GROUP BY tenant_id, status, channel, error_detail
ORDER BY tenant_id ASC, status ASC, messages DESC, channel ASC, error_detail ASC;
