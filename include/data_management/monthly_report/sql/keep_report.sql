-- Equal contents leave the row as it is; others raise its revision.
INSERT INTO batch.monthly_report AS kept (tenant_id, report_month, contents, missing_days, recipients, made_by)
VALUES (%(tenant_id)s, %(month)s, %(contents)s, %(missing_days)s, %(recipients)s, %(execution_id)s)
ON CONFLICT (tenant_id, report_month) DO UPDATE SET
    contents = excluded.contents,
    missing_days = excluded.missing_days,
    recipients = excluded.recipients,
    revision = kept.revision + 1,
    made_by = excluded.made_by,
    made_at = now()
WHERE (kept.contents, kept.recipients) IS DISTINCT FROM (excluded.contents, excluded.recipients);
