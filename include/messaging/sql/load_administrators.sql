-- Who hears about a tenant's own matters: its administrator, or else its contact.
SELECT
    tenant_id,
    coalesce(admin_email, contact_email) AS email,
    tenant_name
FROM batch.tenant;
