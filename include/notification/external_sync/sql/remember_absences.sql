UPDATE batch.account_link AS link
SET
    absent_on = CASE WHEN entry.kind = 'absent' THEN %(run_date)s::date END,
    is_absence_doubtful = entry.kind = 'absent' AND (entry.after ->> 'is_doubtful')::boolean
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text, after jsonb)
WHERE
    entry.kind IN ('absent', 'returned') AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;
