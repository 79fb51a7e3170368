-- name: record_file
INSERT INTO batch.monthly_report_file AS kept (tenant_id, report_month, format, location, size_bytes, sha256, written_by)
VALUES (%(tenant_id)s, %(month)s, %(format)s, %(location)s, %(size)s, %(sha256)s, %(execution_id)s)
ON CONFLICT (tenant_id, report_month, format) DO UPDATE SET
    location = excluded.location, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
    written_by = excluded.written_by,
    written_at = now()
WHERE (kept.location, kept.sha256) IS DISTINCT FROM (excluded.location, excluded.sha256);

-- name: show_file
-- One row per report, month and format. The application links rows with status COMPLETED. A row that a user deleted there stays
-- deleted.
INSERT INTO batch.tenant_report AS shown (
    id, tenant_id, requested_by, report_title, report_category, output_format, generation_status, parameters,
    file_path, file_size, requested_at, started_at, completed_at, created_at, updated_at, is_deleted
)
VALUES (
    %(id)s,
    %(tenant_id)s,
    'BATCH-004',
    %(title)s,
    'MONTHLY',
    %(format)s,
    'COMPLETED',
    %(parameters)s,
    %(location)s,
    %(size)s,
    now() AT TIME ZONE 'UTC',
    now() AT TIME ZONE 'UTC',
    now() AT TIME ZONE 'UTC',
    now() AT TIME ZONE 'UTC',
    now() AT TIME ZONE 'UTC',
    false
)
ON CONFLICT (id) DO UPDATE SET
    report_title = excluded.report_title, generation_status = excluded.generation_status,
    file_path = excluded.file_path, file_size = excluded.file_size, completed_at = excluded.completed_at,
    error_message = null,
    updated_at = excluded.updated_at
WHERE (shown.report_title, shown.generation_status, shown.file_path, shown.file_size)
IS DISTINCT FROM (excluded.report_title, excluded.generation_status, excluded.file_path, excluded.file_size);

-- name: withdraw_file
-- The application does not link the PDF until a PDF with the same figures as the workbook exists.
UPDATE batch.tenant_report
SET
    generation_status = 'FAILED',
    error_message = 'PDF を作れませんでした。作り直すと表示されます',
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = %(id)s AND generation_status = 'COMPLETED';

-- name: withdraw_letters
-- The month's e-mails that have certainly not arrived: there was no attempt, or the only attempt certainly failed. E-mails that
-- an operator queued again may have arrived, so they stay. Waits for a sender that is claiming an e-mail.
DELETE FROM batch.outbox
WHERE
    tenant_id = %(tenant_id)s AND starts_with(dedupe_key, %(occasion)s)
    AND decided_by IS null
    AND (status = 'pending' OR (status = 'retry' AND attempts = 1 AND error_code <> all(%(in_doubt)s)));
