-- The application does not link it until there is one of the same figures as the workbook.
UPDATE batch.tenant_report
SET
    generation_status = 'FAILED',
    error_message = 'PDF を作れませんでした。作り直すと表示されます',
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = %(id)s AND generation_status = 'COMPLETED';
