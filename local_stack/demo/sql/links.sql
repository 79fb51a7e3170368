-- name: links
SELECT
    tenant.tenant_code,
    link.provider,
    count(*) FILTER (WHERE link.status = 'active') AS active_links,
    count(*) FILTER (WHERE link.matched_by = 'employee_code') AS by_code,
    count(*) FILTER (WHERE link.matched_by = 'email') AS by_email
FROM batch.account_link AS link
INNER JOIN batch.all_tenant AS tenant ON link.tenant_id = tenant.tenant_id
GROUP BY tenant.tenant_id, tenant.tenant_code, link.provider
ORDER BY tenant.tenant_id, link.provider;
