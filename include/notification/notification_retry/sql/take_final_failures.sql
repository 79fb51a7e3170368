-- Told once: the run that takes them reports them, and again only when it is cleared itself.
WITH taken AS (
    UPDATE batch.outbox
    SET reported_by = %(execution_id)s
    WHERE
        status IN ('dead', 'ambiguous', 'expired')
        AND (
            reported_by IS null OR reported_by = %(execution_id)s
            -- The run that took them was lost before it had said so.
            OR EXISTS (
                SELECT FROM batch.tenant_outcome AS told
                WHERE
                    told.tenant_id = outbox.tenant_id AND told.execution_id = outbox.reported_by
                    AND told.error_code IS DISTINCT FROM 'NOTIFICATIONS_FAILED'
            )
        )
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
