-- The application's usage table, in its units: MB of 1,048,576 bytes, UTC timestamps. usage_date is exactly 00:00:00 of the
-- Japanese date, because the table's unique key compares timestamps. Equal figures leave the row as it is.
INSERT INTO batch.tenant_usage AS usage (
    id,
    usage_date,
    tenant_id,
    active_users,
    total_logins,
    api_requests,
    file_storage_mb,
    report_generations,
    skill_assessments,
    notification_sent,
    peak_concurrent_users,
    peak_time,
    error_count,
    response_time_avg_ms,
    collection_timestamp,
    is_deleted,
    created_at,
    updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    %(business_date)s::timestamp AS usage_date,
    tenant_id,
    active_users::integer AS active_users,
    total_logins::integer AS total_logins,
    api_calls AS api_requests,
    round((report_bytes + evidence_bytes) / 1048576, 6) AS file_storage_mb,
    reports_generated::integer AS report_generations,
    skill_assessments::integer AS skill_assessments,
    notifications_sent::integer AS notification_sent,
    peak_concurrent_users::integer AS peak_concurrent_users,
    peak_at AS peak_time,
    error_count::integer AS error_count,
    response_time_avg_ms,
    now() AT TIME ZONE 'UTC' AS collection_timestamp,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM batch.usage_signal
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id
ON CONFLICT (usage_date, tenant_id) DO UPDATE SET
    active_users = excluded.active_users,
    total_logins = excluded.total_logins,
    api_requests = excluded.api_requests,
    file_storage_mb = excluded.file_storage_mb,
    report_generations = excluded.report_generations,
    skill_assessments = excluded.skill_assessments,
    notification_sent = excluded.notification_sent,
    peak_concurrent_users = excluded.peak_concurrent_users,
    peak_time = excluded.peak_time,
    error_count = excluded.error_count,
    response_time_avg_ms = excluded.response_time_avg_ms,
    collection_timestamp = excluded.collection_timestamp,
    is_deleted = excluded.is_deleted,
    updated_at = excluded.updated_at
WHERE (
    usage.active_users,
    usage.total_logins,
    usage.api_requests,
    usage.file_storage_mb,
    usage.report_generations,
    usage.skill_assessments,
    usage.notification_sent,
    usage.peak_concurrent_users,
    usage.peak_time,
    usage.error_count,
    usage.response_time_avg_ms,
    usage.is_deleted
) IS DISTINCT FROM (
    excluded.active_users,
    excluded.total_logins,
    excluded.api_requests,
    excluded.file_storage_mb,
    excluded.report_generations,
    excluded.skill_assessments,
    excluded.notification_sent,
    excluded.peak_concurrent_users,
    excluded.peak_time,
    excluded.error_count,
    excluded.response_time_avg_ms,
    excluded.is_deleted
);
