INSERT INTO batch.directory_change (
    tenant_id, provider, execution_id, kind, subject_id, employee_id, reason, before, after, plan_hash
)
SELECT
    %(tenant_id)s,
    %(provider)s,
    %(execution_id)s,
    entry.kind,
    entry.subject_id,
    entry.employee_id,
    entry.reason,
    entry.before,
    entry.after,
    %(plan_hash)s
FROM
    jsonb_to_recordset(%(entries)s) AS entry (
        kind text, subject_id text, employee_id text, reason text, before jsonb, after jsonb
    )
WHERE entry.kind <> all(%(marks)s);
