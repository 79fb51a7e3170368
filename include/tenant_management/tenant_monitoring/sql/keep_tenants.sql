UPDATE batch.monitored_tenant AS known
SET
    checked_at = %(check_at)s,
    last_activity_at = checked.last_activity_at,
    recent = checked.recent
FROM
    jsonb_to_recordset(%(tenants)s) AS checked (
        tenant_id text,
        last_activity_at timestamptz,
        recent jsonb
    )
WHERE known.tenant_id = checked.tenant_id;
