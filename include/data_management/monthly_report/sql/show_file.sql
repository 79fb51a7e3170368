-- The application's row, one per report, month and format. It links COMPLETED ones; what somebody deleted there stays deleted.
INSERT INTO batch.tenant_report AS shown (
    id,
    tenant_id,
    requested_by,
    report_title,
    report_category,
    output_format,
    generation_status,
    parameters,
    file_path,
    file_size,
    requested_at,
    started_at,
    completed_at,
    created_at,
    updated_at,
    is_deleted
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
    report_title = excluded.report_title,
    generation_status = excluded.generation_status,
    file_path = excluded.file_path,
    file_size = excluded.file_size,
    completed_at = excluded.completed_at,
    error_message = null,
    updated_at = excluded.updated_at
WHERE (shown.report_title, shown.generation_status, shown.file_path, shown.file_size)
IS DISTINCT FROM (excluded.report_title, excluded.generation_status, excluded.file_path, excluded.file_size);
