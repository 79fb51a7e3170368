-- name: letter_files
SELECT
    tenant.tenant_code,
    file.file_name,
    CASE WHEN file.is_attached THEN '添付' WHEN file.sha256 IS null THEN '未作成' ELSE '本文で案内' END AS delivery,
    round(file.bytes / 1024.0)::integer AS kilobytes,
    message.destination,
    message.status
FROM batch.letter_file AS file
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
LEFT JOIN batch.outbox AS message
    ON file.tenant_id = message.tenant_id AND file.notification_id = message.host_log_id
ORDER BY tenant.tenant_id, file.file_name;
