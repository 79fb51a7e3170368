-- name: messages
SELECT
    tenant.tenant_code,
    message.channel,
    message.status,
    count(*)::integer AS messages,
    message.error_detail
FROM batch.outbox AS message
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
GROUP BY tenant.tenant_id, tenant.tenant_code, message.channel, message.status, message.error_detail
ORDER BY tenant.tenant_id, message.channel, message.status, message.error_detail;
