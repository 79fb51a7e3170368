-- name: report_files
SELECT
    tenant.tenant_code,
    report.missing_days,
    file.size_bytes / 1024,
    file.location
FROM batch.monthly_report_file AS file
INNER JOIN batch.monthly_report AS report USING (tenant_id, report_month)
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE file.report_month = %(date)s
ORDER BY file.tenant_id, file.format;
