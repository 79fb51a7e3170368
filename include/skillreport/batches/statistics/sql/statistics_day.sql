-- name: save_day
-- Equal figures leave the row unchanged. Other figures raise its revision.
INSERT INTO batch.statistics_day AS kept (
    tenant_id, statistics_date, users_total, users_active, users_new, logins, api_calls, api_errors,
    reports_generated, skill_assessments, notifications_sent, storage_bytes, employees, skill_records,
    rated_records, rated_people, level_sum, coverage_met, coverage_target, required_people, goals_not_started,
    goals_in_progress, goals_completed, goals_other, certificates_held, certificates_expiring,
    certificates_expired, trainings_completed, training_hours, unplaced_accounts, unplaced_events, recorded_by
)
SELECT
    tenant_id,
    %(business_date)s AS statistics_date,
    users_total, users_active, users_new, logins, api_calls, api_errors, reports_generated, skill_assessments,
    notifications_sent, storage_bytes, employees, skill_records, rated_records, rated_people, level_sum,
    coverage_met, coverage_target, required_people, goals_not_started, goals_in_progress, goals_completed,
    goals_other, certificates_held, certificates_expiring, certificates_expired, trainings_completed,
    training_hours, unplaced_accounts, unplaced_events,
    execution_id AS recorded_by
FROM batch.statistics_signal
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id
ON CONFLICT (tenant_id, statistics_date) DO UPDATE SET
    users_total = excluded.users_total, users_active = excluded.users_active, users_new = excluded.users_new,
    logins = excluded.logins, api_calls = excluded.api_calls, api_errors = excluded.api_errors,
    reports_generated = excluded.reports_generated, skill_assessments = excluded.skill_assessments,
    notifications_sent = excluded.notifications_sent, storage_bytes = excluded.storage_bytes,
    employees = excluded.employees, skill_records = excluded.skill_records,
    rated_records = excluded.rated_records, rated_people = excluded.rated_people,
    level_sum = excluded.level_sum, coverage_met = excluded.coverage_met,
    coverage_target = excluded.coverage_target, required_people = excluded.required_people,
    goals_not_started = excluded.goals_not_started, goals_in_progress = excluded.goals_in_progress,
    goals_completed = excluded.goals_completed, goals_other = excluded.goals_other,
    certificates_held = excluded.certificates_held, certificates_expiring = excluded.certificates_expiring,
    certificates_expired = excluded.certificates_expired, trainings_completed = excluded.trainings_completed,
    training_hours = excluded.training_hours,
    unplaced_accounts = excluded.unplaced_accounts, unplaced_events = excluded.unplaced_events,
    revision = kept.revision + 1,
    recorded_by = excluded.recorded_by,
    recorded_at = now()
WHERE (
    kept.users_total,
    kept.users_active,
    kept.users_new,
    kept.logins,
    kept.api_calls,
    kept.api_errors,
    kept.reports_generated,
    kept.skill_assessments,
    kept.notifications_sent,
    kept.storage_bytes,
    kept.employees,
    kept.skill_records,
    kept.rated_records,
    kept.rated_people,
    kept.level_sum,
    kept.coverage_met,
    kept.coverage_target,
    kept.required_people,
    kept.goals_not_started,
    kept.goals_in_progress,
    kept.goals_completed,
    kept.goals_other,
    kept.certificates_held,
    kept.certificates_expiring,
    kept.certificates_expired,
    kept.trainings_completed,
    kept.training_hours,
    kept.unplaced_accounts,
    kept.unplaced_events
) IS DISTINCT FROM (
    excluded.users_total,
    excluded.users_active,
    excluded.users_new,
    excluded.logins,
    excluded.api_calls,
    excluded.api_errors,
    excluded.reports_generated,
    excluded.skill_assessments,
    excluded.notifications_sent,
    excluded.storage_bytes,
    excluded.employees,
    excluded.skill_records,
    excluded.rated_records,
    excluded.rated_people,
    excluded.level_sum,
    excluded.coverage_met,
    excluded.coverage_target,
    excluded.required_people,
    excluded.goals_not_started,
    excluded.goals_in_progress,
    excluded.goals_completed,
    excluded.goals_other,
    excluded.certificates_held,
    excluded.certificates_expiring,
    excluded.certificates_expired,
    excluded.trainings_completed,
    excluded.training_hours,
    excluded.unplaced_accounts,
    excluded.unplaced_events
);

-- name: delete_groups
-- Delete the groups of the day's earlier run; save_groups inserts the new ones. The subquery hides the date from the planner. Its
-- statistics contain no rows of a new day, so it would read all tenants' rows by date.
DELETE FROM batch.statistics_group
WHERE
    statistics_date = (SELECT %(business_date)s::date)
    AND tenant_id IN (
        SELECT signal.tenant_id
        FROM batch.statistics_signal AS signal
        WHERE signal.execution_id = %(execution_id)s
    );

-- name: save_groups
INSERT INTO batch.statistics_group (
    tenant_id, statistics_date, dimension, group_key, is_rest, group_name, people, records, level_sum,
    level_1, level_2, level_3, level_4, level_5
)
SELECT
    signal.tenant_id,
    %(business_date)s AS statistics_date,
    skill_group.dimension, skill_group.group_key, skill_group.is_rest, skill_group.group_name,
    skill_group.people, skill_group.records, skill_group.level_sum, skill_group.level_1, skill_group.level_2,
    skill_group.level_3, skill_group.level_4, skill_group.level_5
FROM batch.statistics_signal AS signal
CROSS JOIN
    jsonb_to_recordset(signal.skill_groups) AS skill_group (
        dimension text, group_key text, is_rest boolean, group_name text, people bigint, records bigint,
        level_sum bigint, level_1 bigint, level_2 bigint, level_3 bigint, level_4 bigint, level_5 bigint
    )
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;

-- name: load_day
-- The date as in delete_groups.
SELECT
    kept.tenant_id, kept.users_total, kept.users_active, kept.users_new, kept.logins, kept.api_calls,
    kept.api_errors, kept.reports_generated, kept.skill_assessments, kept.notifications_sent,
    kept.storage_bytes, kept.employees, kept.skill_records, kept.rated_records, kept.rated_people,
    kept.level_sum, kept.coverage_met, kept.coverage_target, kept.required_people, kept.goals_not_started,
    kept.goals_in_progress, kept.goals_completed, kept.goals_other, kept.certificates_held,
    kept.certificates_expiring, kept.certificates_expired, kept.trainings_completed, kept.training_hours,
    kept.api_error_rate, kept.mean_level, kept.coverage_rate, kept.revision
FROM batch.statistics_signal AS signal
INNER JOIN batch.statistics_day AS kept
    ON signal.tenant_id = kept.tenant_id AND kept.statistics_date = (SELECT %(business_date)s::date)
WHERE signal.execution_id = %(execution_id)s
ORDER BY kept.tenant_id;
