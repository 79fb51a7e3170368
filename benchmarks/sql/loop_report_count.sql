-- name: loop_report_count
-- getReportCount: reports completed on the day, with the other counts of the usage table.
SELECT
    (
        SELECT count(*)
        FROM "HIS_ReportGeneration"
        WHERE
            tenant_id = %(tenant_id)s AND NOT is_deleted AND upper(generation_status) = 'COMPLETED'
            AND coalesce(completed_at, created_at) >= %(day_start)s AND coalesce(completed_at, created_at) < %(day_end)s
    ) AS report_generations,
    (
        SELECT count(*)
        FROM "TRN_SkillRecord"
        WHERE
            tenant_id = %(tenant_id)s AND NOT is_deleted
            AND assessment_date >= %(day_start)s AND assessment_date < %(day_end)s
    ) AS skill_assessments,
    (
        SELECT count(*)
        FROM "HIS_NotificationLog"
        WHERE
            tenant_id = %(tenant_id)s AND NOT is_deleted AND upper(send_status) IN ('SUCCESS', 'SENT')
            AND sent_at >= %(day_start)s AND sent_at < %(day_end)s
    ) AS notification_sent;
