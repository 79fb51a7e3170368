INSERT INTO batch.account_link (
    tenant_id, provider, external_id, employee_id, matched_by, linked_on, changed_by
)
SELECT
    %(tenant_id)s,
    %(provider)s,
    entry.subject_id,
    entry.employee_id,
    entry.after ->> 'matched_by' AS matched_by,
    %(run_date)s,
    %(execution_id)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text, employee_id text, after jsonb)
WHERE entry.kind = 'link';
