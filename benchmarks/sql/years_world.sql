-- name: years_runs
-- The runs of each day, with an outcome per tenant. The hourly batches have 24 runs a day.
INSERT INTO batch.execution_log (
    execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, started_at, ended_at,
    total_tenants, success_count, error_count, result
)
SELECT
    format('%%s_%%s_%%s', batch.batch_id, to_char(started.at, 'YYYYMMDD'), to_char(started.at, 'HH24')), batch.batch_id,
    batch.batch_id AS dag_id, 'scheduled__' || started.at, started.at::date, false, '{}', 'benchmark', 'completed', started.at,
    started.at + interval '1 minute', %(tenants)s, %(tenants)s AS success_count, 0,
    '{"results": [], "totals": {}}'
FROM generate_series(0, %(log_days)s - 1) AS day (number)
CROSS JOIN generate_series(0, 23) AS hour (number)
CROSS JOIN
    unnest(
        ARRAY[
            'BATCH-018-03', 'BATCH-019-02', 'BATCH-018-01', 'BATCH-018-04', 'BATCH-018-05', 'BATCH-003', 'BATCH-019-01',
            'BATCH-019-05'
        ]
    ) AS batch (batch_id)
CROSS JOIN
    LATERAL (
        SELECT %(until)s::timestamptz - day.number * interval '1 day' - hour.number * interval '1 hour' AS at
    ) AS started
WHERE batch.batch_id IN ('BATCH-018-03', 'BATCH-019-02') OR hour.number = 12
ORDER BY started.at;

INSERT INTO batch.tenant_outcome (execution_id, tenant_id, part, status, details, records, attempts, recorded_at, shard)
SELECT
    log.execution_id, 'tenant-' || to_char(tenant.number, 'FM000000'), '', 'success',
    '{"judged": ["api_errors", "response_time", "failed_logins"], "breaching": [], "open": []}', 1, 1, log.ended_at,
    tenant.number / 25
FROM batch.execution_log AS log
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
ORDER BY log.started_at, tenant.number;

INSERT INTO batch.task_metric (execution_id, task_id, map_index, wall_seconds, cpu_seconds, peak_memory_bytes)
SELECT log.execution_id, 'process', shard.number, 1, 1, 1
FROM batch.execution_log AS log
CROSS JOIN generate_series(0, %(tenants)s / 25) AS shard (number);

INSERT INTO batch.rows_scanned (execution_id, relation, row_count)
SELECT log.execution_id, relation.relation, 1000
FROM batch.execution_log AS log
CROSS JOIN unnest(ARRAY['SYS_SystemLog', 'HIS_AuditLog', 'MST_UserAuth']) AS relation (relation);

INSERT INTO batch.performance_metric (
    execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
    recorded_at, is_comparable
)
SELECT log.execution_id, log.batch_id, log.run_id, log.business_date, 60, 60, 1, %(tenants)s, log.ended_at, true
FROM batch.execution_log AS log;

INSERT INTO batch.monitored_tenant (tenant_id, checked_at)
SELECT 'tenant-' || to_char(tenant.number, 'FM000000'), %(until)s::timestamptz - interval '1 hour'
FROM generate_series(1, %(tenants)s) AS tenant (number);

-- name: years_measures
INSERT INTO batch.hourly_measure (tenant_id, hour_at, api_calls, errors, responses, response_ms, failed_logins)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000') AS tenant_id,
    %(until)s::timestamptz - hour.number * interval '1 hour' AS hour_at, 100 + mod(hour.number, 24), mod(hour.number, 3), 100,
    20000, 0
FROM generate_series(2, %(hour_days)s * 24) AS hour (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
ORDER BY hour_at, tenant_id;

INSERT INTO batch.activity_hour (hour_at, source, person_key, row_count, calls, errors, timed_calls, last_at_utc)
SELECT
    %(until)s::timestamptz - hour.number * interval '1 hour' AS hour_at, 'SYS_SystemLog',
    format('user-%%s-%%s', tenant.number, person.number), 10, 10, 0, 10,
    %(until)s::timestamptz AT TIME ZONE 'UTC' - hour.number * interval '1 hour'
FROM generate_series(2, 60) AS hour (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
CROSS JOIN generate_series(1, 5) AS person (number)
ORDER BY hour_at;

INSERT INTO batch.incident (
    tenant_id, check_name, opened_at, severity, evidence, breached_at, closed_at, closed_because, told, told_at, opened_by
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), 'api_errors', opened.at, 'warning', 'the arithmetic of the breach',
    opened.at AS breached_at, opened.at + interval '1 hour', 'recovered', 'closed', opened.at + interval '1 hour', 'benchmark'
FROM generate_series(1, least(%(year_days)s, 400)) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
CROSS JOIN LATERAL (SELECT %(until)s::timestamptz - day.number * interval '1 day' AS at) AS opened
WHERE mod(day.number + tenant.number, 30) = 0
ORDER BY day.number DESC;

-- name: years_days
INSERT INTO batch.usage_day (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, peak_concurrent_users,
    storage_bytes, reports_generated, skill_assessments, notifications_sent, closed_by, closed_at
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), %(until)s::date - day.number AS usage_date, 100, 60, 80, 1000, 10, 20,
    1000000, 3, 5, 7, 'BATCH-018-01_' || (%(until)s::date - day.number), (%(until)s::date - day.number + 1)::timestamptz
FROM generate_series(1, %(year_days)s) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
ORDER BY usage_date, tenant.number;

INSERT INTO batch.login_day (tenant_id, login_date, user_ids)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), %(until)s::date - day.number AS login_date,
    array(SELECT format('user_%%s_%%s', tenant.number, person.number) FROM generate_series(1, 20) AS person (number))
FROM generate_series(1, least(%(year_days)s, %(login_days)s)) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
ORDER BY login_date, tenant.number;

INSERT INTO batch.statistics_day (
    tenant_id, statistics_date, users_total, users_active, users_new, logins, api_calls, api_errors, reports_generated,
    skill_assessments, notifications_sent, storage_bytes, employees, skill_records, rated_records, rated_people, level_sum,
    coverage_met, coverage_target, required_people, goals_not_started, goals_in_progress, goals_completed, goals_other,
    certificates_held, certificates_expiring, certificates_expired, trainings_completed, training_hours, recorded_by
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), %(until)s::date - day.number AS statistics_date,
    100, 60, 1, 80, 1000, 10, 3, 5, 7, 1000000, 100, 900, 800, 90, 2400, 300, 400, 80, 10, 20, 30, 4, 50, 6, 7, 80, 900,
    'benchmark'
FROM generate_series(1, least(%(year_days)s, %(statistics_days)s)) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
ORDER BY statistics_date, tenant.number;

INSERT INTO batch.statistics_group (
    tenant_id, statistics_date, dimension, group_key, is_rest, group_name, people, records, level_sum, level_1, level_2, level_3,
    level_4, level_5
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), %(until)s::date - day.number AS statistics_date, 'category',
    'group_' || skill_group.number, false, 'スキル分類 ' || skill_group.number, 20, 80, 240, 10, 20, 20, 20, 10
FROM generate_series(1, least(%(year_days)s, %(statistics_days)s)) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
CROSS JOIN generate_series(1, 10) AS skill_group (number)
WHERE day.number <= %(group_days)s OR extract(DAY FROM %(until)s::date - day.number + 1) = 1
ORDER BY statistics_date, tenant.number, skill_group.number;

-- name: years_messages
-- Five sent messages of each day, and five that are due.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at, created_by,
    created_at, dedupe_until, finished_at
)
SELECT
    gen_random_uuid()::text, 'tenant-' || to_char(tenant.number, 'FM000000'), made.key || '_' || message.number, 'slack',
    'channel_' || message.number, 'A subject', repeat('A line of the message. ', 20), made.status,
    (made.status = 'sent')::integer, made.at, made.at AS next_attempt_at, 'benchmark', made.at AS created_at,
    made.at + interval '90 days', CASE made.status WHEN 'sent' THEN made.at END
FROM generate_series(0, %(log_days)s) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
CROSS JOIN generate_series(1, 5) AS message (number)
CROSS JOIN
    LATERAL (
        SELECT
            %(until)s::timestamptz - day.number * interval '1 day' AS at,
            CASE day.number WHEN 0 THEN 'due' ELSE day.number::text END AS key,
            CASE day.number WHEN 0 THEN 'pending' ELSE 'sent' END AS status
    ) AS made
ORDER BY made.at, tenant.number;

-- name: years_histories
-- The histories: a change of a setting each month, ten changes of the directory, two warnings and a stage.
INSERT INTO batch.setting_change (tenant_id, setting_key, changed_at, execution_id, kind, new_value, reason, changed_by)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), 'key_' || mod(day.number, 10),
    %(until)s::timestamptz - day.number * interval '1 day', 'e', 'updated', 'v', 'r', 'b'
FROM generate_series(30, %(year_days)s, 30) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number)
WHERE day.number <= %(change_days)s;

INSERT INTO batch.directory_change (
    tenant_id, provider, execution_id, kind, subject_id, reason, before, after, plan_hash, changed_at
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), 'slack', 'e', 'update', 'U' || day.number, 'r',
    '{"email": "before@example.jp"}', '{"email": "after@example.jp"}', 'h',
    %(until)s::timestamptz - day.number * interval '1 day'
FROM generate_series(3, least(%(year_days)s, %(directory_days)s), 3) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number);

INSERT INTO batch.usage_warning (
    tenant_id, kind, metric, threshold_percent, window_start, business_date, observed, reference, raised_by, raised_at
)
SELECT
    'tenant-' || to_char(tenant.number, 'FM000000'), 'surge', 'api_calls', 200, %(until)s::date - day.number,
    %(until)s::date - day.number, 300, 100, 'e', %(until)s::timestamptz - day.number * interval '1 day'
FROM generate_series(15, least(%(year_days)s, %(warning_days)s), 15) AS day (number)
CROSS JOIN generate_series(1, %(tenants)s) AS tenant (number);

-- name: years_sizes
-- The largest tables of schema batch with their rows and their size with indexes.
SELECT relname, reltuples::bigint, pg_size_pretty(pg_total_relation_size(oid))
FROM pg_class
WHERE relnamespace = 'batch'::regnamespace AND relkind = 'r' AND reltuples > 0
ORDER BY pg_total_relation_size(oid) DESC
LIMIT 12;
