-- Who hears that nobody comes any more: the tenant's contact, or else its administrator, who may be the one who left.
SELECT
    tenant_id,
    coalesce(contact_email, admin_email) AS email,
    tenant_name
FROM batch.tenant
WHERE coalesce(contact_email, admin_email) IS NOT null;
