UPDATE batch.account_link AS link
SET
    absent_by = CASE WHEN entry.kind = 'absent' THEN %(execution_id)s END,
    absent_on = CASE WHEN entry.kind = 'absent' THEN %(run_date)s::date END
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind IN ('absent', 'returned') AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;
