INSERT INTO batch.monthly_report_file AS kept (tenant_id, report_month, format, location, size_bytes, sha256, written_by)
VALUES (%(tenant_id)s, %(month)s, %(format)s, %(location)s, %(size)s, %(sha256)s, %(execution_id)s)
ON CONFLICT (tenant_id, report_month, format) DO UPDATE SET
    location = excluded.location,
    size_bytes = excluded.size_bytes,
    sha256 = excluded.sha256,
    written_by = excluded.written_by,
    written_at = now()
WHERE (kept.location, kept.sha256) IS DISTINCT FROM (excluded.location, excluded.sha256);
