-- name: collect_signals
-- The usage of the given tenants on one day, and how all rows read were assigned. The statement reads each host table at most
-- once, and resolves each key once. day_start and day_end are UTC and enclose a Japanese day. Users' actions come from the logs,
-- or from the hours that the hourly batch has counted if reads_logs is false. reads_edits is the same for the edits of TRN_*
-- rows.
--
-- Requests are summed per key before the keys are resolved, so a million requests give no more rows than there are users. An
-- action of the application itself, or of an unknown person, does not make a user active. Counts are integers as long as
-- possible: PostgreSQL sums integers much faster than bigint.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, status
    FROM batch.all_tenant
),

account AS MATERIALIZED (
    SELECT
        account.user_id,
        person.person_id,
        person.tenant_id,
        account.recorded_tenant_id,
        coalesce(person.reason, CASE WHEN person.employee_id IS null THEN 'stated' ELSE 'person' END) AS placement,
        account.created_at_utc,
        coalesce(
            account.last_login_at_utc >= %(day_start)s AND account.last_login_at_utc < %(day_end)s, false
        ) AS logged_in
    FROM batch.all_account AS account
    INNER JOIN batch.person_key AS person ON account.user_id = person.person_key AND person.named_by = 'user_id'
    WHERE NOT account.is_deleted
),

-- Files, and what was made on the day.
belonging AS (
    SELECT
        'HIS_ReportGeneration' AS source,
        person_key, stated_tenant_id,
        1 AS row_count,
        coalesce(completed_at_utc >= %(day_start)s AND completed_at_utc < %(day_end)s, false)::integer AS made,
        CASE WHEN created_at_utc < %(day_end)s THEN file_bytes END AS stored_bytes
    FROM batch.all_report
    UNION ALL
    SELECT
        'TRN_SkillEvidence files' AS source,
        person_key, stated_tenant_id,
        count(*)::integer AS row_count,
        0 AS made,
        sum(file_bytes)::bigint AS stored_bytes
    FROM batch.all_skill_evidence
    WHERE created_at_utc < %(day_end)s
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT
        'TRN_SkillRecord assessment_date' AS source,
        person_key, stated_tenant_id,
        1 AS row_count,
        1 AS made,
        null AS stored_bytes
    FROM batch.all_skill_assessment
    WHERE assessed_at_utc >= %(day_start)s AND assessed_at_utc < %(day_end)s
    UNION ALL
    SELECT
        'HIS_NotificationLog' AS source,
        null AS person_key,
        stated_tenant_id,
        count(*)::integer AS row_count,
        count(*)::integer AS made,
        null AS stored_bytes
    FROM batch.all_sent_notification
    WHERE sent_at_utc >= %(day_start)s AND sent_at_utc < %(day_end)s
    GROUP BY stated_tenant_id
),

-- Users' actions on the day, and what belongs to the users.
happened AS (
    SELECT
        'SYS_SystemLog' AS source,
        person_key,
        null AS stated_tenant_id,
        true AS is_event,
        count(*)::integer AS row_count,
        count(*)::integer AS calls,
        (count(*) FILTER (WHERE is_error))::integer AS errors,
        sum(response_time_ms) AS response_ms,
        count(response_time_ms)::integer AS timed_calls,
        -- The hours of the Japanese day, as bits.
        bit_or(1 << mod(date_part('hour', requested_at_utc)::integer + 9, 24)) AS hours,
        null::integer AS logins,
        0 AS made,
        null::bigint AS stored_bytes
    FROM batch.all_api_request
    WHERE %(reads_logs)s AND requested_at_utc >= %(day_start)s AND requested_at_utc < %(day_end)s
    GROUP BY person_key
    UNION ALL
    SELECT
        source, person_key, stated_tenant_id,
        true AS is_event,
        1 AS row_count,
        0 AS calls,
        0 AS errors,
        null AS response_ms,
        0 AS timed_calls,
        null AS hours,
        CASE WHEN is_login THEN 1 END AS logins,
        0 AS made,
        null AS stored_bytes
    FROM batch.all_user_action
    WHERE
        %(reads_logs)s AND (%(reads_edits)s OR source = 'HIS_AuditLog')
        AND acted_at_utc >= %(day_start)s AND acted_at_utc < %(day_end)s
    UNION ALL
    SELECT
        source, person_key, stated_tenant_id,
        true AS is_event,
        sum(row_count)::integer AS row_count,
        sum(calls)::integer AS calls,
        sum(errors)::integer AS errors,
        sum(response_ms)::bigint AS response_ms,
        sum(timed_calls)::integer AS timed_calls,
        bit_or(1 << mod(date_part('hour', hour_at AT TIME ZONE 'UTC')::integer + 9, 24)) FILTER (WHERE calls > 0) AS hours,
        sum(logins)::integer AS logins,
        0 AS made,
        null AS stored_bytes
    FROM batch.activity_hour
    WHERE
        (NOT %(reads_logs)s OR (NOT %(reads_edits)s AND source NOT IN ('SYS_SystemLog', 'HIS_AuditLog')))
        AND last_at_utc IS NOT null
        AND hour_at >= %(day_start)s::timestamp AT TIME ZONE 'UTC' AND hour_at < %(day_end)s::timestamp AT TIME ZONE 'UTC'
    GROUP BY source, person_key, stated_tenant_id
    UNION ALL
    SELECT
        source, person_key, stated_tenant_id,
        false AS is_event,
        row_count,
        0 AS calls,
        0 AS errors,
        null AS response_ms,
        0 AS timed_calls,
        null AS hours,
        null AS logins,
        made,
        stored_bytes
    FROM belonging
),

-- The users who logged in on the day. The application keeps only the last login, so users that an earlier run of the day found
-- also count, in their present tenant. An account without an employee is stored by its own id, and may have an employee now.
logged_in AS (
    SELECT tenant_id, person_id
    FROM account
    WHERE logged_in AND tenant_id IS NOT null
    UNION ALL
    SELECT
        coalesce(account.tenant_id, employed.tenant_id, login_day.tenant_id) AS tenant_id,
        coalesce(account.person_id, kept.user_id) AS person_id
    FROM batch.login_day
    CROSS JOIN LATERAL unnest(login_day.user_ids) AS kept (user_id)
    LEFT JOIN account ON kept.user_id = account.user_id
    LEFT JOIN account AS employed ON kept.user_id = employed.person_id
    WHERE login_day.login_date = %(business_date)s
),

assigned AS MATERIALIZED (
    SELECT happened.*, person.tenant_id, person.person_id, person.reason
    FROM happened
    LEFT JOIN batch.person_key AS person ON happened.person_key = person.person_key AND person.is_decisive
),

-- Rows whose person is unknown.
unresolved AS MATERIALIZED (
    SELECT
        kept.*,
        tenant.tenant_id AS stated_tenant,
        batch.placement(
            kept.person_key,
            null,
            -- A request without a user was sent before the login.
            CASE WHEN kept.source = 'SYS_SystemLog' AND kept.person_key IS null THEN 'nobody' ELSE kept.reason END,
            kept.stated_tenant_id,
            tenant.status
        ) AS placement
    FROM (
        SELECT
            source, is_event, person_key, stated_tenant_id, reason,
            sum(row_count) AS row_count,
            sum(made) AS made,
            sum(stored_bytes) AS stored_bytes
        FROM assigned
        WHERE tenant_id IS null
        GROUP BY source, is_event, person_key, stated_tenant_id, reason
    ) AS kept
    LEFT JOIN tenant ON kept.stated_tenant_id = tenant.tenant_id
),

person_day AS (
    SELECT
        tenant_id,
        person_id,
        sum(row_count) AS events,
        sum(calls) AS calls,
        sum(errors) AS errors,
        sum(response_ms) AS response_ms,
        sum(timed_calls) AS timed_calls,
        bit_or(hours) AS hours,
        sum(logins) AS logins
    FROM (
        SELECT tenant_id, person_id, row_count, calls, errors, response_ms, timed_calls, hours, logins
        FROM assigned
        WHERE is_event AND tenant_id = any(%(tenant_ids)s::text[])
        UNION ALL
        SELECT
            tenant_id, person_id,
            0 AS row_count,
            0 AS calls,
            0 AS errors,
            null AS response_ms,
            0 AS timed_calls,
            null AS hours,
            -- A login that is not in the audit log counts once, because the host has no further data.
            0 AS logins
        FROM logged_in
        WHERE tenant_id = any(%(tenant_ids)s::text[])
    ) AS seen
    GROUP BY tenant_id, person_id
),

active AS (
    SELECT
        tenant_id,
        count(*) AS users,
        sum(greatest(logins, 1)) FILTER (WHERE logins IS NOT null) AS logins,
        array_agg(person_id) FILTER (WHERE logins IS NOT null) AS login_user_ids,
        sum(events) AS events,
        sum(calls) AS calls,
        sum(errors) AS errors,
        sum(response_ms) / nullif(sum(timed_calls), 0) AS response_time_avg_ms,
        -- Users per hour. One expression per hour, because a join with the hours would create a row for each user and hour.
        ARRAY[
            count(*) FILTER (WHERE hours & (1 << 0) <> 0),
            count(*) FILTER (WHERE hours & (1 << 1) <> 0),
            count(*) FILTER (WHERE hours & (1 << 2) <> 0),
            count(*) FILTER (WHERE hours & (1 << 3) <> 0),
            count(*) FILTER (WHERE hours & (1 << 4) <> 0),
            count(*) FILTER (WHERE hours & (1 << 5) <> 0),
            count(*) FILTER (WHERE hours & (1 << 6) <> 0),
            count(*) FILTER (WHERE hours & (1 << 7) <> 0),
            count(*) FILTER (WHERE hours & (1 << 8) <> 0),
            count(*) FILTER (WHERE hours & (1 << 9) <> 0),
            count(*) FILTER (WHERE hours & (1 << 10) <> 0),
            count(*) FILTER (WHERE hours & (1 << 11) <> 0),
            count(*) FILTER (WHERE hours & (1 << 12) <> 0),
            count(*) FILTER (WHERE hours & (1 << 13) <> 0),
            count(*) FILTER (WHERE hours & (1 << 14) <> 0),
            count(*) FILTER (WHERE hours & (1 << 15) <> 0),
            count(*) FILTER (WHERE hours & (1 << 16) <> 0),
            count(*) FILTER (WHERE hours & (1 << 17) <> 0),
            count(*) FILTER (WHERE hours & (1 << 18) <> 0),
            count(*) FILTER (WHERE hours & (1 << 19) <> 0),
            count(*) FILTER (WHERE hours & (1 << 20) <> 0),
            count(*) FILTER (WHERE hours & (1 << 21) <> 0),
            count(*) FILTER (WHERE hours & (1 << 22) <> 0),
            count(*) FILTER (WHERE hours & (1 << 23) <> 0)
        ] AS users_by_hour
    FROM person_day
    GROUP BY tenant_id
),

-- Events that name a tenant and whose person is unknown.
unknown AS (
    SELECT
        stated_tenant AS tenant_id,
        sum(row_count) AS events,
        sum(row_count) FILTER (WHERE placement <> 'nobody') AS unplaced_events
    FROM unresolved
    WHERE is_event AND stated_tenant = any(%(tenant_ids)s::text[])
    GROUP BY stated_tenant
),

possession AS (
    SELECT
        tenant_id,
        sum(stored_bytes) FILTER (WHERE source = 'HIS_ReportGeneration') AS report_bytes,
        sum(stored_bytes) FILTER (WHERE source = 'TRN_SkillEvidence files') AS evidence_bytes,
        sum(made) FILTER (WHERE source = 'HIS_ReportGeneration') AS reports,
        sum(made) FILTER (WHERE source = 'TRN_SkillRecord assessment_date') AS assessments,
        sum(made) FILTER (WHERE source = 'HIS_NotificationLog') AS notifications
    FROM (
        SELECT tenant_id, source, made, stored_bytes
        FROM assigned
        WHERE NOT is_event AND tenant_id = any(%(tenant_ids)s::text[])
        UNION ALL
        SELECT stated_tenant AS tenant_id, source, made, stored_bytes
        FROM unresolved
        WHERE NOT is_event AND placement = 'stated' AND stated_tenant = any(%(tenant_ids)s::text[])
    ) AS owned
    GROUP BY tenant_id
),

registered AS (
    SELECT
        tenant_id,
        count(*) FILTER (WHERE is_placed) AS users,
        count(*) FILTER (WHERE NOT is_placed) AS unplaced_accounts
    FROM (
        SELECT tenant_id, true AS is_placed
        FROM account
        WHERE tenant_id = any(%(tenant_ids)s::text[]) AND created_at_utc < %(day_end)s
        UNION ALL
        SELECT recorded_tenant_id AS tenant_id, false AS is_placed
        FROM account
        WHERE
            -- Includes accounts created after the day, because an operator must check them now.
            placement NOT IN ('person', 'stated', 'nobody') AND recorded_tenant_id = any(%(tenant_ids)s::text[])
    ) AS listed
    GROUP BY tenant_id
),

reconciled AS (
    INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count)
    SELECT %(execution_id)s, source, placement, is_event, sum(row_count)
    FROM (
        SELECT total.source, tallied.placement, total.is_event, tallied.row_count
        FROM (
            SELECT
                source, is_event,
                sum(row_count) AS row_count,
                sum(row_count) FILTER (WHERE stated_tenant_id <> tenant_id) AS overruled,
                sum(row_count) FILTER (
                    WHERE person_key = any(array(
                        SELECT watched.person_key FROM batch.known_key AS watched
                        WHERE watched.kind = 'watched'
                    ))
                ) AS watched
            FROM assigned
            WHERE tenant_id IS NOT null
            GROUP BY source, is_event
        ) AS total
        CROSS JOIN
            LATERAL (
                VALUES ('person', total.row_count), ('overruled', total.overruled), ('watched', total.watched)
            ) AS tallied (placement, row_count)
        UNION ALL
        SELECT source, placement, is_event, row_count
        FROM unresolved
        UNION ALL
        SELECT
            'MST_UserAuth' AS source,
            placement,
            true AS is_event,
            count(*) AS row_count
        FROM account
        GROUP BY placement
    ) AS reading
    GROUP BY source, placement, is_event
    HAVING sum(row_count) > 0
    ON CONFLICT (execution_id, source, placement) DO UPDATE SET row_count = excluded.row_count
)

INSERT INTO batch.usage_signal (
    execution_id, tenant_id, registered_users, active_users, total_logins, login_user_ids, api_calls,
    error_count, response_time_avg_ms, peak_concurrent_users, peak_at, report_bytes, evidence_bytes,
    reports_generated, skill_assessments, notifications_sent, subscription_plan, max_storage_gb,
    setting_overrides, is_deleted, unplaced_accounts, read_events, unplaced_events
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
    -- A figure without a source is null, not 0.
    CASE WHEN %(has_requests)s THEN coalesce(active.calls, 0) END AS api_calls,
    CASE WHEN %(has_requests)s THEN coalesce(active.errors, 0) END AS error_count,
    round(active.response_time_avg_ms, 3) AS response_time_avg_ms,
    CASE WHEN %(has_requests)s THEN coalesce(peak.users, 0) END AS peak_concurrent_users,
    -- The first such hour.
    %(day_start)s + (array_position(active.users_by_hour, peak.users) - 1) * interval '1 hour' AS peak_at,
    CASE WHEN %(has_files)s THEN coalesce(possession.report_bytes, 0) END AS report_bytes,
    CASE WHEN %(has_files)s THEN coalesce(possession.evidence_bytes, 0) END AS evidence_bytes,
    CASE WHEN %(has_reports)s THEN coalesce(possession.reports, 0) END AS reports_generated,
    CASE WHEN %(has_assessments)s THEN coalesce(possession.assessments, 0) END AS skill_assessments,
    CASE WHEN %(has_notifications)s THEN coalesce(possession.notifications, 0) END AS notifications_sent,
    tenant.subscription_plan,
    tenant.max_storage_gb,
    coalesce(setting.overrides, '{}') AS setting_overrides,
    coalesce(tenant.status = 'DELETED', true) AS is_deleted,
    coalesce(registered.unplaced_accounts, 0) AS unplaced_accounts,
    coalesce(active.events, 0) + coalesce(unknown.events, 0) AS read_events,
    coalesce(unknown.unplaced_events, 0) AS unplaced_events
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN registered USING (tenant_id)
LEFT JOIN active USING (tenant_id)
LEFT JOIN possession USING (tenant_id)
LEFT JOIN unknown USING (tenant_id)
LEFT JOIN LATERAL (
    SELECT nullif(max(users), 0) AS users
    FROM unnest(active.users_by_hour) AS hour (users)
) AS peak ON true
LEFT JOIN batch.all_tenant AS tenant USING (tenant_id)
LEFT JOIN batch.setting_overrides('usage', %(tenant_ids)s, %(day_end)s) AS setting USING (tenant_id)
-- Two attempts (a task believed dead, and its retry) may collect at the same time. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;

-- name: sources_of_the_day
SELECT source
FROM batch.reconciliation
WHERE execution_id = %(execution_id)s AND is_event AND row_count > 0;

-- name: closed_calls
-- The API calls of the tenants' closed day.
SELECT coalesce(sum(closed.api_calls), 0)::bigint
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
INNER JOIN batch.usage_day AS closed ON listed.tenant_id = closed.tenant_id AND closed.usage_date = %(business_date)s;

-- name: last_rows
-- The day (Asia/Tokyo) of the last row of each of the given logs before the end of the period.
SELECT
    'SYS_SystemLog' AS source,
    (max(requested_at_utc) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS day
FROM batch.all_api_request
WHERE 'SYS_SystemLog' = any(%(sources)s) AND requested_at_utc < %(day_end)s
UNION ALL
SELECT
    'HIS_AuditLog' AS source,
    (max(acted_at_utc) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS day
FROM batch.all_user_action
WHERE
    'HIS_AuditLog' = any(%(sources)s)
    AND source = 'HIS_AuditLog' AND acted_at_utc < %(day_end)s;

-- name: keep_logins
-- Save who logged in on the day, before the host overwrites it. The rows of two concurrent runs are merged.
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
WHERE NOT excluded.user_ids <@ kept.user_ids;

-- name: discard_signals
-- Runs in the transaction that closes the day. A later attempt finds no signals and collects them again from the host.
DELETE FROM batch.usage_signal
WHERE execution_id = %(execution_id)s;
