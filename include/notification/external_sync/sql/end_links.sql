UPDATE batch.account_link AS link
SET
    status = 'inactive',
    absent_on = null,
    is_absence_doubtful = false,
    changed_by = %(execution_id)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind = 'deactivate' AND link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
    AND link.external_id = entry.subject_id;
