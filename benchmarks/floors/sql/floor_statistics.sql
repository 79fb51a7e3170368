-- name: forget_statistics
-- No hour is counted, so that the logs are read. The logins of the day, which BATCH-018-03 has kept, are not known.
TRUNCATE batch.activity_hour, batch.activity_reading, batch.login_day;

-- name: floor_statistics
-- After floor_activity: the skills of each person, and the day and the groups of each tenant. No group of these data is small.
CREATE UNLOGGED TABLE floor_skill AS
SELECT
    employee.tenant_id, employee.id AS employee_id, coalesce(employee.department_id, '') AS department_code, record.skill_item_id,
    max(record.skill_level) AS level, coalesce(min(record.skill_category_id), '') AS category_code
FROM "TRN_SkillRecord" AS record
INNER JOIN "MST_Employee" AS employee ON record.employee_id = employee.employee_code
WHERE record.created_at < %(day_end)s AND NOT record.is_deleted
GROUP BY employee.tenant_id, employee.id, employee.department_id, record.skill_item_id;

CREATE UNLOGGED TABLE floor_skill_group AS
SELECT
    tenant_id,
    CASE WHEN grouping(department_code) = 0 THEN 'department' WHEN grouping(category_code) = 0 THEN 'category' END AS dimension,
    coalesce(department_code, category_code, '') AS group_key, count(DISTINCT employee_id) AS people, count(*) AS records,
    sum(level) AS level_sum, count(*) FILTER (WHERE level = 1) AS level_1, count(*) FILTER (WHERE level = 2) AS level_2,
    count(*) FILTER (WHERE level = 3) AS level_3, count(*) FILTER (WHERE level = 4) AS level_4,
    count(*) FILTER (WHERE level >= 5) AS level_5
FROM floor_skill
GROUP BY GROUPING SETS ((tenant_id), (tenant_id, department_code), (tenant_id, category_code));

INSERT INTO batch.statistics_group (
    tenant_id, statistics_date, dimension, group_key, is_rest, people, records, level_sum, level_1, level_2, level_3, level_4,
    level_5
)
SELECT
    tenant_id, %(business_date)s, dimension, group_key, false, people, records, level_sum, level_1, level_2, level_3, level_4,
    level_5
FROM floor_skill_group
WHERE dimension IS NOT null;

INSERT INTO batch.statistics_day (
    tenant_id, statistics_date, users_total, users_active, users_new, logins, api_calls, api_errors, reports_generated,
    skill_assessments, notifications_sent, storage_bytes, employees, skill_records, rated_records, rated_people, level_sum,
    coverage_met, coverage_target, required_people, goals_not_started, goals_in_progress, goals_completed, goals_other,
    certificates_held, certificates_expiring, certificates_expired, trainings_completed, training_hours, recorded_by
)
SELECT
    day.tenant_id, %(business_date)s, day.registered_users, day.active_users, day.users_new, day.total_logins, day.api_calls,
    day.error_count, day.reports_generated, day.skill_assessments, day.notifications_sent, day.storage_bytes,
    workforce.employees, skill.records, skill.records AS rated_records, skill.people, skill.level_sum,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'floor'
FROM floor_tenant_day AS day
INNER JOIN (
    SELECT tenant_id, count(*) AS employees
    FROM "MST_Employee"
    WHERE NOT is_deleted
    GROUP BY tenant_id
) AS workforce USING (tenant_id)
INNER JOIN floor_skill_group AS skill ON day.tenant_id = skill.tenant_id AND skill.dimension IS null;

INSERT INTO batch.login_day (tenant_id, login_date, user_ids)
SELECT tenant_id, %(business_date)s, user_ids
FROM floor_tenant_day
WHERE user_ids <> '{}';

-- name: floor_statistics_rows
SELECT
    to_jsonb(day) - 'recorded_by' - 'recorded_at' AS day,
    (
        SELECT jsonb_agg(to_jsonb(skill_group) ORDER BY skill_group.dimension, skill_group.group_key)
        FROM batch.statistics_group AS skill_group
        WHERE skill_group.tenant_id = day.tenant_id AND skill_group.statistics_date = day.statistics_date
    ) AS groups,
    login.user_ids
FROM batch.statistics_day AS day
LEFT JOIN batch.login_day AS login ON day.tenant_id = login.tenant_id AND day.statistics_date = login.login_date
ORDER BY day.tenant_id;
