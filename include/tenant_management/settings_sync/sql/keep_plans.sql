UPDATE batch.setting_plan AS known
SET
    plan = moved.plan,
    since = %(run_date)s,
    recorded_by = %(execution_id)s
FROM
    jsonb_to_recordset(%(plans)s) AS moved (
        tenant_id text,
        plan text
    )
WHERE known.tenant_id = moved.tenant_id;
