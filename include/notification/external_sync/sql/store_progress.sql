UPDATE batch.directory_listing
SET
    step = %(step)s,
    cursor = %(cursor)s,
    pages = pages + 1,
    delta_link = coalesce(%(delta_link)s, delta_link)
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;
