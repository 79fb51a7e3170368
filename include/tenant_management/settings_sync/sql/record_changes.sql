INSERT INTO batch.setting_change (
    tenant_id,
    setting_key,
    execution_id,
    kind,
    old_value,
    old_modified_by,
    new_value,
    old_applied_value,
    old_applied_source,
    reason,
    changed_by
)
SELECT
    change.tenant_id,
    change.setting_key,
    %(execution_id)s,
    change.kind,
    change.old_value,
    change.old_modified_by,
    change.new_value,
    change.old_applied_value,
    change.old_applied_source,
    change.reason,
    %(actor)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text,
        setting_key text,
        kind text,
        old_value text,
        old_modified_by text,
        new_value text,
        old_applied_value text,
        old_applied_source text,
        reason text
    );
