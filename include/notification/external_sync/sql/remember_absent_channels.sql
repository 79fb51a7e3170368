UPDATE batch.directory_channel AS channel
SET absent_on = %(run_date)s
FROM jsonb_to_recordset(%(entries)s) AS entry (kind text, subject_id text)
WHERE
    entry.kind = 'channel_absent' AND channel.tenant_id = %(tenant_id)s AND channel.provider = %(provider)s
    AND channel.external_id = entry.subject_id;
