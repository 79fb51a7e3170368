-- name: channel_changes
SELECT
    tenant.tenant_code,
    change.provider,
    change.subject_id,
    change.reason
FROM batch.directory_change AS change
INNER JOIN batch.all_tenant AS tenant ON change.tenant_id = tenant.tenant_id
WHERE change.kind NOT IN ('link', 'relink', 'update', 'deactivate')
ORDER BY tenant.tenant_id, change.change_id;
