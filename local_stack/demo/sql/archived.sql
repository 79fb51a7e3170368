-- name: archived
SELECT
    tenant.tenant_code,
    (outcome.details ->> 'archivedNotifications')::integer AS notifications,
    (outcome.details ->> 'archivedMessages')::integer AS messages
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE
    outcome.execution_id = %(execution_id)s
    AND (outcome.details ->> 'archivedNotifications' <> '0' OR outcome.details ->> 'archivedMessages' <> '0')
ORDER BY tenant.tenant_id;
