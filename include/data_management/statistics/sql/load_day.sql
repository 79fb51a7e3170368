SELECT
    kept.tenant_id,
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
    kept.api_error_rate,
    kept.mean_level,
    kept.coverage_rate,
    kept.revision
FROM batch.statistics_signal AS signal
INNER JOIN batch.statistics_day AS kept
    ON signal.tenant_id = kept.tenant_id AND kept.statistics_date = %(business_date)s
WHERE signal.execution_id = %(execution_id)s
ORDER BY kept.tenant_id;
