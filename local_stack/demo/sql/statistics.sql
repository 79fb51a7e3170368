-- name: statistics
SELECT
    tenant.tenant_code,
    day.users_total,
    day.users_active,
    day.logins,
    day.api_calls,
    round(day.api_error_rate, 1),
    day.employees,
    day.skill_records,
    round(day.mean_level, 2),
    round(day.coverage_rate, 1),
    day.goals_completed,
    (
        SELECT count(*) FROM batch.statistics_group AS shown
        WHERE
            shown.tenant_id = day.tenant_id AND shown.statistics_date = day.statistics_date
            AND shown.dimension = 'department' AND NOT shown.is_rest
    ) AS departments
FROM batch.statistics_day AS day
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE day.recorded_by = %(execution_id)s
ORDER BY day.tenant_id;
