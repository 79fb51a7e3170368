SELECT
    step,
    cursor,
    pages,
    delta_link,
    started_over
FROM batch.directory_listing
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;
