-- name: loop_storage_usage
-- getStorageUsage: MB stored at the end of the day, by the tenant's people. The application's own reports count by their tenant.
-- OFFSET makes the reports a look-up by person: otherwise the planner reads those of all tenants.
WITH person AS MATERIALIZED (
    SELECT person_id, person_key
    FROM loop_person_key
    WHERE tenant_id = %(tenant_id)s
)

SELECT
    round((
        (
            SELECT coalesce(sum(made.file_size::bigint), 0)
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
            WHERE made.created_at < %(day_end)s AND NOT made.is_deleted
        ) + (
            SELECT coalesce(sum(evidence.file_size_kb::bigint), 0) * 1024
            FROM person
            INNER JOIN "TRN_SkillEvidence" AS evidence ON person.person_key = evidence.employee_id
            WHERE evidence.created_at < %(day_end)s AND NOT evidence.is_deleted
        )
    ) / 1048576, 6) AS file_storage_mb;
