UPDATE batch.sync_plan
SET status = 'applied'
WHERE
    tenant_id = %(tenant_id)s AND provider = %(provider)s AND execution_id = %(execution_id)s AND status = 'planned';
