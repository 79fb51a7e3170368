SELECT
    tenant_id,
    check_name,
    opened_at
FROM batch.incident
WHERE closed_at < %(before)s;
