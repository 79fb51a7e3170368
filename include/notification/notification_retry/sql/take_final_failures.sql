-- Told once: the run that takes them reports them, and reports them again only when it is cleared itself.
WITH taken AS (
    UPDATE batch.outbox
    SET reported_by = %(execution_id)s
    WHERE
        status IN ('dead', 'ambiguous', 'expired')
        AND (reported_by IS null OR reported_by = %(execution_id)s)
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
