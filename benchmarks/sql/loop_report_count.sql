-- name: loop_report_count
-- getReportCount: reports completed on the day, with the other counts of the usage table. OFFSET makes the reports a look-up by
-- person: otherwise the planner reads those of all tenants.
WITH person AS MATERIALIZED (
    SELECT person_id, person_key
    FROM loop_person_key
    WHERE tenant_id = %(tenant_id)s
)

SELECT
    (
        SELECT count(*)
        FROM (
            SELECT own.*
            FROM person
            CROSS JOIN
                LATERAL (
                    SELECT report.*
                    FROM "HIS_ReportGeneration" AS report
                    WHERE report.requested_by = person.person_key
                    LIMIT ALL OFFSET 0 -- noqa: AM09
                ) AS own
            UNION ALL
            SELECT report.*
            FROM "HIS_ReportGeneration" AS report
            WHERE report.tenant_id = %(tenant_id)s AND report.requested_by = 'system'
        ) AS made
        WHERE
            NOT made.is_deleted AND upper(made.generation_status) = 'COMPLETED'
            AND coalesce(made.completed_at, made.created_at) >= %(day_start)s
            AND coalesce(made.completed_at, made.created_at) < %(day_end)s
    ) AS report_generations,
    (
        SELECT count(*)
        FROM person
        INNER JOIN "TRN_SkillRecord" AS record ON person.person_key = record.employee_id
        WHERE
            NOT is_deleted
            AND assessment_date >= %(day_start)s AND assessment_date < %(day_end)s
    ) AS skill_assessments,
    (
        SELECT count(*)
        FROM "HIS_NotificationLog"
        WHERE
            tenant_id = %(tenant_id)s AND NOT is_deleted AND upper(send_status) IN ('SUCCESS', 'SENT')
            AND sent_at >= %(day_start)s AND sent_at < %(day_end)s
    ) AS notification_sent;
