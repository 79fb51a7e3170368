UPDATE batch.directory_sync
SET
    delta_link = %(delta_link)s,
    synced_on = %(run_date)s,
    synced_by = %(execution_id)s,
    plan_hash = %(plan_hash)s
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s;
