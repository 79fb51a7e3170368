-- name: load_days
SELECT
    statistics_date, users_total, users_active, users_new, logins, api_calls, api_errors, api_error_rate,
    reports_generated, skill_assessments, notifications_sent, storage_bytes, employees, skill_records,
    rated_records, rated_people, level_sum, coverage_met, coverage_target, required_people, goals_not_started,
    goals_in_progress, goals_completed, goals_other, certificates_held, certificates_expiring,
    certificates_expired, trainings_completed, training_hours, unplaced_events, unplaced_accounts
FROM batch.statistics_day
WHERE tenant_id = %(tenant_id)s AND statistics_date BETWEEN %(first_day)s AND %(last_day)s
ORDER BY statistics_date;

-- name: load_groups
-- The groups of the month's last day with statistics; empty if that day has no groups.
SELECT
    skill_group.dimension, skill_group.group_key, skill_group.is_rest, skill_group.group_name,
    skill_group.people, skill_group.records, skill_group.level_sum, skill_group.level_1, skill_group.level_2,
    skill_group.level_3, skill_group.level_4, skill_group.level_5
FROM batch.statistics_group AS skill_group
WHERE
    skill_group.tenant_id = %(tenant_id)s
    AND skill_group.statistics_date = (
        SELECT max(day.statistics_date)
        FROM batch.statistics_day AS day
        WHERE day.tenant_id = %(tenant_id)s AND day.statistics_date BETWEEN %(month)s AND %(last_day)s
    )
ORDER BY skill_group.dimension, skill_group.group_key;

-- name: save_report
-- Equal contents leave the row unchanged. Other contents raise its revision.
INSERT INTO batch.monthly_report AS kept (tenant_id, report_month, contents, missing_days, recipients, made_by)
VALUES (%(tenant_id)s, %(month)s, %(contents)s, %(missing_days)s, %(recipients)s, %(execution_id)s)
ON CONFLICT (tenant_id, report_month) DO UPDATE SET
    contents = excluded.contents, missing_days = excluded.missing_days, recipients = excluded.recipients,
    revision = kept.revision + 1,
    made_by = excluded.made_by,
    made_at = now()
WHERE (kept.contents, kept.recipients) IS DISTINCT FROM (excluded.contents, excluded.recipients);

-- name: load_report
-- The signal is deleted together with the run's people. Without it, the list of people would be empty.
SELECT report.contents, report.recipients, signal.execution_id IS NOT null AS has_people
FROM batch.monthly_report AS report
LEFT JOIN batch.report_signal AS signal
    ON report.tenant_id = signal.tenant_id AND signal.execution_id = %(execution_id)s
WHERE report.report_month = %(month)s;
