-- name: collect_signals
-- The usage of the given tenants on one day. The statement reads each host table once. day_start and day_end are UTC and
-- enclose a Japanese day.
--
-- Each action of a user is an event. Events are summed per user before the join with the accounts, so a million requests give
-- no more rows than there are users. Users without an account on the host ('system', deleted users) do not count. Each part
-- filters by the given tenants itself, so a broken row of another tenant cannot make the statement fail.
INSERT INTO batch.usage_signal (
    execution_id, tenant_id, registered_users, active_users, total_logins, login_user_ids, api_calls,
    error_count, response_time_avg_ms, peak_concurrent_users, peak_at, report_bytes, evidence_bytes,
    reports_generated, skill_assessments, notifications_sent, subscription_plan, max_storage_gb,
    setting_overrides
)
-- Materialized, so that no row of another tenant is evaluated, in whatever order the planner applies the conditions.
WITH person AS MATERIALIZED (
    SELECT
        user_id,
        tenant_id,
        created_at_utc,
        coalesce(last_login_at_utc >= %(day_start)s AND last_login_at_utc < %(day_end)s, false) AS logged_in
    FROM batch.all_user
    WHERE tenant_id = any(%(tenant_ids)s::text[])
),

event AS (
    SELECT
        user_id,
        true AS is_call,
        is_error,
        response_time_ms,
        -- The hour of the Japanese day, as a bit.
        1 << mod(date_part('hour', requested_at_utc)::integer + 9, 24) AS hour_bit,
        false AS is_audited_login,
        false AS logged_in
    FROM batch.all_api_request
    WHERE requested_at_utc >= %(day_start)s AND requested_at_utc < %(day_end)s
    UNION ALL
    SELECT
        user_id, false AS is_call, false AS is_error, null AS response_time_ms, null AS hour_bit,
        is_login AS is_audited_login, is_login AS logged_in
    FROM batch.all_user_action
    WHERE acted_at_utc >= %(day_start)s AND acted_at_utc < %(day_end)s
    UNION ALL
    -- The next login overwrites the host's last login, so users seen by an earlier run of the day count as well.
    SELECT
        unnest(user_ids) AS user_id,
        false AS is_call,
        false AS is_error,
        null AS response_time_ms,
        null AS hour_bit,
        false AS is_audited_login,
        true AS logged_in
    FROM batch.login_day
    WHERE login_date = %(business_date)s AND tenant_id = any(%(tenant_ids)s::text[])
),

person_day AS (
    SELECT
        user_id,
        count(*) FILTER (WHERE is_call) AS calls,
        count(*) FILTER (WHERE is_error) AS errors,
        sum(response_time_ms) AS response_ms,
        count(response_time_ms) AS timed_calls,
        bit_or(hour_bit) AS hours,
        count(*) FILTER (WHERE is_audited_login) AS audited_logins,
        bool_or(logged_in) AS logged_in
    FROM event
    GROUP BY user_id
),

active AS (
    SELECT
        person.tenant_id,
        count(*) AS users,
        -- A login that is not in the audit log counts once: the host has no further data.
        sum(greatest(person_day.audited_logins, 1)) FILTER (WHERE person.logged_in OR person_day.logged_in) AS logins,
        array_agg(person.user_id) FILTER (WHERE person.logged_in OR person_day.logged_in) AS login_user_ids,
        sum(person_day.calls) AS calls,
        sum(person_day.errors) AS errors,
        sum(person_day.response_ms) / nullif(sum(person_day.timed_calls), 0) AS response_time_avg_ms,
        -- Users per hour. One expression per hour, because a join with the hours would create a row for each user and hour.
        ARRAY[
            count(*) FILTER (WHERE person_day.hours & (1 << 0) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 1) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 2) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 3) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 4) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 5) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 6) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 7) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 8) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 9) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 10) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 11) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 12) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 13) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 14) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 15) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 16) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 17) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 18) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 19) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 20) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 21) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 22) <> 0),
            count(*) FILTER (WHERE person_day.hours & (1 << 23) <> 0)
        ] AS users_by_hour
    FROM person
    LEFT JOIN person_day USING (user_id)
    WHERE person.logged_in OR person_day.user_id IS NOT null
    GROUP BY person.tenant_id
),

registered AS (
    SELECT tenant_id, count(*) AS users
    FROM person
    WHERE created_at_utc < %(day_end)s
    GROUP BY tenant_id
),

tenant_setting AS (
    SELECT
        tenant_id,
        jsonb_object_agg(substr(setting_key, length('batch.usage.') + 1), setting_value) AS overrides
    FROM batch.all_tenant_setting
    WHERE
        tenant_id = any(%(tenant_ids)s::text[])
        AND starts_with(setting_key, 'batch.usage.') AND setting_value IS NOT null
        AND coalesce(effective_from_utc < %(day_end)s, true)
        AND coalesce(effective_until_utc >= %(day_end)s, true)
    GROUP BY tenant_id
),

report AS (
    SELECT
        tenant_id,
        sum(file_bytes) FILTER (WHERE created_at_utc < %(day_end)s) AS stored_bytes,
        count(*) FILTER (WHERE completed_at_utc >= %(day_start)s AND completed_at_utc < %(day_end)s) AS generated
    FROM batch.all_report
    WHERE tenant_id = any(%(tenant_ids)s::text[])
    GROUP BY tenant_id
),

evidence AS (
    SELECT tenant_id, sum(file_bytes) AS stored_bytes
    FROM batch.all_skill_evidence
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND created_at_utc < %(day_end)s
    GROUP BY tenant_id
),

assessment AS (
    SELECT tenant_id, count(*) AS made
    FROM batch.all_skill_assessment
    WHERE
        tenant_id = any(%(tenant_ids)s::text[])
        AND assessed_at_utc >= %(day_start)s AND assessed_at_utc < %(day_end)s
    GROUP BY tenant_id
),

notification AS (
    SELECT tenant_id, count(*) AS sent
    FROM batch.all_sent_notification
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND sent_at_utc >= %(day_start)s AND sent_at_utc < %(day_end)s
    GROUP BY tenant_id
)

SELECT
    %(execution_id)s,
    scope.tenant_id,
    coalesce(registered.users, 0) AS registered_users,
    coalesce(active.users, 0) AS active_users,
    coalesce(active.logins, 0) AS total_logins,
    array(
        SELECT user_id FROM unnest(active.login_user_ids) AS login (user_id)
        ORDER BY user_id
    ) AS login_user_ids,
    coalesce(active.calls, 0) AS api_calls,
    coalesce(active.errors, 0) AS error_count,
    round(active.response_time_avg_ms, 3) AS response_time_avg_ms,
    coalesce(peak.users, 0) AS peak_concurrent_users,
    %(day_start)s + (peak.position - 1) * interval '1 hour' AS peak_at,
    coalesce(report.stored_bytes, 0) AS report_bytes,
    coalesce(evidence.stored_bytes, 0) AS evidence_bytes,
    coalesce(report.generated, 0) AS reports_generated,
    coalesce(assessment.made, 0) AS skill_assessments,
    coalesce(notification.sent, 0) AS notifications_sent,
    tenant.subscription_plan,
    tenant.max_storage_gb,
    coalesce(tenant_setting.overrides, '{}') AS setting_overrides
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN registered USING (tenant_id)
LEFT JOIN active USING (tenant_id)
LEFT JOIN LATERAL (
    SELECT users, position
    FROM unnest(active.users_by_hour) WITH ORDINALITY AS hour (users, position)
    WHERE users > 0
    ORDER BY users DESC, position ASC
    LIMIT 1
) AS peak ON true
LEFT JOIN report USING (tenant_id)
LEFT JOIN evidence USING (tenant_id)
LEFT JOIN assessment USING (tenant_id)
LEFT JOIN notification USING (tenant_id)
LEFT JOIN batch.all_tenant AS tenant USING (tenant_id)
LEFT JOIN tenant_setting USING (tenant_id)
-- Two attempts (a task believed dead, and its retry) may collect at the same time. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;

-- name: keep_logins
-- Keep who logged in on the day, before the host overwrites it. The rows of two concurrent runs are merged.
INSERT INTO batch.login_day AS kept (tenant_id, login_date, user_ids)
SELECT tenant_id, %(business_date)s AS login_date, login_user_ids AS user_ids
FROM batch.usage_signal
WHERE execution_id = %(execution_id)s AND login_user_ids <> '{}'
ORDER BY tenant_id
ON CONFLICT (tenant_id, login_date) DO UPDATE SET
    user_ids = (
        SELECT array_agg(DISTINCT login.user_id ORDER BY login.user_id)
        FROM unnest(kept.user_ids || excluded.user_ids) AS login (user_id) -- noqa: RF01
    )
WHERE kept.user_ids IS DISTINCT FROM excluded.user_ids;

-- name: discard_signals
-- Runs in the transaction that closes the day. A later attempt finds no signals and collects them again from the host.
DELETE FROM batch.usage_signal
WHERE execution_id = %(execution_id)s;
