UPDATE batch.setting_change AS change
SET
    undone_by = %(actor)s,
    undone_at = now()
FROM
    jsonb_to_recordset(%(settings)s) AS restored (
        tenant_id text,
        setting_key text
    )
WHERE
    change.tenant_id = restored.tenant_id AND change.setting_key = restored.setting_key
    AND change.execution_id = %(execution_id)s AND change.undone_by IS null;
