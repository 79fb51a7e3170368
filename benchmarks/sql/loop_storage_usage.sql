-- name: loop_storage_usage
-- getStorageUsage: MB stored at the end of the day.
SELECT
    round((
        (
            SELECT coalesce(sum(file_size::bigint), 0)
            FROM "HIS_ReportGeneration"
            WHERE tenant_id = %(tenant_id)s AND created_at < %(day_end)s AND NOT is_deleted
        ) + (
            SELECT coalesce(sum(file_size_kb::bigint), 0) * 1024
            FROM "TRN_SkillEvidence"
            WHERE tenant_id = %(tenant_id)s AND created_at < %(day_end)s AND NOT is_deleted
        )
    ) / 1048576, 6) AS file_storage_mb;
