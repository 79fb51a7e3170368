-- name: first_hour
-- The first hour that the run measures for any of the tenants. The first run of a tenant covers the four weeks of the baseline.
-- The last measured hour is measured again, so that late log entries count. check_at is a full hour.
SELECT
    coalesce(
        min(
            greatest(
                %(history_start)s, last_measure.hour_at, tenant.created_on::timestamp AT TIME ZONE 'Asia/Tokyo'
            )
        ),
        %(check_at)s
    )
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
LEFT JOIN batch.all_tenant AS tenant ON listed.tenant_id = tenant.tenant_id
LEFT JOIN LATERAL (
    SELECT measure.hour_at
    FROM batch.hourly_measure AS measure
    WHERE measure.tenant_id = listed.tenant_id AND measure.hour_at < %(check_at)s
    ORDER BY measure.hour_at DESC
    LIMIT 1
) AS last_measure ON true;

-- name: collect_signals
-- Acts as batch_platform. The events per tenant and hour since the last measured hour, and each tenant's present state. The
-- statement reads each host table once, and the settings once for each kind. check_at is a full hour. read_from is first_hour, or
-- earlier if a day is read again for the daily batches; it is a constant to the planner.
--
-- Hours before the log's first request are unmeasured, not quiet, because nothing is known about them. Figures without a source
-- are absent. Requests and actions are summed per key and hour before the keys are resolved. The sums and the logins are kept for
-- the daily batches.
--
-- Materialized, so that other tenants' contracts are not evaluated, regardless of the order of the planner's conditions.
WITH tenant AS MATERIALIZED (
    SELECT tenant_id, subscription_plan, max_storage_gb, contract_end, created_on
    FROM batch.all_tenant
    WHERE tenant_id = any(%(tenant_ids)s::text[])
),

stated AS MATERIALIZED (
    SELECT tenant_id, status
    FROM batch.all_tenant
),

scope AS MATERIALIZED (
    SELECT
        listed.tenant_id,
        greatest(
            %(history_start)s, last_measure.hour_at, tenant.created_on::timestamp AT TIME ZONE 'Asia/Tokyo'
        ) AS wanted_from,
        coalesce(last_measure.hour_at >= %(check_at)s::timestamptz - interval '1 day', false) AS goes_on
    FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
    LEFT JOIN tenant ON listed.tenant_id = tenant.tenant_id
    LEFT JOIN LATERAL (
        SELECT measure.hour_at
        FROM batch.hourly_measure AS measure
        WHERE measure.tenant_id = listed.tenant_id AND measure.hour_at < %(check_at)s
        ORDER BY measure.hour_at DESC
        LIMIT 1
    ) AS last_measure ON true
),

-- One row per source, key and hour.
happened AS MATERIALIZED (
    SELECT
        'SYS_SystemLog' AS source,
        person_key,
        null::text AS stated_tenant_id,
        date_trunc('hour', requested_at_utc) AS hour_utc,
        count(*) AS row_count,
        count(*) AS api_calls,
        count(*) FILTER (WHERE is_error) AS errors,
        count(response_time_ms) AS responses,
        sum(response_time_ms) AS response_ms,
        null::bigint AS logins,
        0 AS failed_logins,
        max(requested_at_utc) AS last_at_utc
    FROM batch.all_api_request
    WHERE
        requested_at_utc >= %(read_from)s::timestamptz AT TIME ZONE 'UTC'
        AND requested_at_utc < %(check_at)s::timestamptz AT TIME ZONE 'UTC'
    GROUP BY person_key, hour_utc
    UNION ALL
    SELECT
        source, person_key, stated_tenant_id,
        date_trunc('hour', acted_at_utc) AS hour_utc,
        count(*) AS row_count,
        0 AS api_calls,
        0 AS errors,
        0 AS responses,
        null::bigint AS response_ms,
        count(*) FILTER (WHERE is_login) AS logins,
        count(*) FILTER (WHERE is_failed_login) AS failed_logins,
        max(acted_at_utc) FILTER (WHERE NOT is_failed_login) AS last_at_utc
    FROM batch.all_logged_action
    WHERE
        acted_at_utc >= %(read_from)s::timestamptz AT TIME ZONE 'UTC'
        AND acted_at_utc < %(check_at)s::timestamptz AT TIME ZONE 'UTC'
    GROUP BY source, person_key, stated_tenant_id, hour_utc
),

kept AS (
    INSERT INTO batch.activity_hour (
        hour_at, source, person_key, stated_tenant_id, row_count, calls, errors, timed_calls, response_ms, logins,
        last_at_utc
    )
    SELECT
        hour_utc AT TIME ZONE 'UTC', source, person_key, stated_tenant_id, row_count, api_calls, errors, responses,
        response_ms, nullif(logins, 0), last_at_utc
    FROM happened
    WHERE hour_utc >= %(kept_from)s::timestamptz AT TIME ZONE 'UTC'
),

event AS MATERIALIZED (
    SELECT
        placed.*,
        batch.placed_tenant(placed.placement, placed.person_tenant_id, placed.stated_tenant) AS tenant_id
    FROM (
        SELECT
            happened.*,
            known_person.tenant_id AS person_tenant_id,
            stated.tenant_id AS stated_tenant,
            batch.placement(
                happened.person_key,
                known_person.tenant_id,
                -- A request without a user was sent before the login.
                CASE
                    WHEN happened.source = 'SYS_SystemLog' AND happened.person_key IS null THEN 'nobody'
                    ELSE known_person.reason
                END,
                happened.stated_tenant_id,
                stated.status
            ) AS placement
        FROM happened
        LEFT JOIN batch.person_key AS known_person ON happened.person_key = known_person.person_key AND known_person.is_decisive
        LEFT JOIN stated ON happened.stated_tenant_id = stated.tenant_id
    ) AS placed
),

reconciled AS (
    INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count)
    SELECT %(execution_id)s, source, placement, true AS is_event, sum(row_count)
    FROM event
    WHERE hour_utc >= %(check_at)s::timestamptz AT TIME ZONE 'UTC' - interval '1 hour'
    GROUP BY source, placement
    ON CONFLICT (execution_id, source, placement) DO UPDATE SET row_count = excluded.row_count
),

measured AS (
    SELECT
        tenant_id,
        hour_utc AT TIME ZONE 'UTC' AS hour_at,
        sum(api_calls) AS api_calls,
        sum(errors) AS errors,
        sum(responses) AS responses,
        coalesce(sum(response_ms), 0) AS response_ms,
        sum(failed_logins) AS failed_logins
    FROM event
    WHERE
        hour_utc >= %(first_hour)s::timestamptz AT TIME ZONE 'UTC' AND (api_calls > 0 OR failed_logins > 0)
        AND tenant_id = any(%(tenant_ids)s::text[])
    GROUP BY tenant_id, hour_at
),

by_tenant AS (
    SELECT
        tenant_id,
        jsonb_agg(
            jsonb_build_object(
                'hour_at', hour_at,
                'api_calls', api_calls,
                'errors', errors,
                'responses', responses,
                'response_ms', response_ms,
                'failed_logins', failed_logins
            )
        ) AS measures
    FROM measured
    GROUP BY tenant_id
),

last_login AS MATERIALIZED (
    SELECT known_person.tenant_id, known_person.person_id, account.last_login_at_utc
    FROM batch.all_account AS account
    INNER JOIN batch.person_key AS known_person
        ON account.user_id = known_person.person_key AND known_person.named_by = 'user_id'
    WHERE
        known_person.tenant_id = any(%(tenant_ids)s::text[])
        AND NOT account.is_deleted AND account.last_login_at_utc < %(check_at)s::timestamptz AT TIME ZONE 'UTC'
),

-- Many applications record only the last login, which the next login overwrites. The daily batches run hours later.
logins_kept AS (
    INSERT INTO batch.login_day AS kept (tenant_id, login_date, user_ids)
    SELECT
        tenant_id,
        (last_login_at_utc AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS login_date,
        array_agg(DISTINCT person_id ORDER BY person_id) AS user_ids
    FROM last_login
    WHERE last_login_at_utc >= %(read_from)s::timestamptz AT TIME ZONE 'UTC'
    GROUP BY tenant_id, login_date
    ORDER BY tenant_id, login_date
    ON CONFLICT (tenant_id, login_date) DO UPDATE SET
        user_ids = (
            SELECT array_agg(DISTINCT login.user_id ORDER BY login.user_id)
            FROM unnest(kept.user_ids || excluded.user_ids) AS login (user_id) -- noqa: RF01
        )
    WHERE NOT excluded.user_ids <@ kept.user_ids
),

activity AS (
    SELECT tenant_id, max(last_at_utc) AS last_at_utc
    FROM (
        SELECT tenant_id, last_at_utc
        FROM event
        WHERE tenant_id = any(%(tenant_ids)s::text[])
        UNION ALL
        SELECT tenant_id, last_login_at_utc AS last_at_utc
        FROM last_login
    ) AS sign
    GROUP BY tenant_id
),

stored AS (
    SELECT
        batch.placed_tenant(placement, person_tenant_id, stated_tenant) AS tenant_id,
        sum(file_bytes) AS file_bytes
    FROM (
        SELECT
            file.file_bytes,
            known_person.tenant_id AS person_tenant_id,
            stated.tenant_id AS stated_tenant,
            batch.placement(
                file.person_key, known_person.tenant_id, known_person.reason, file.stated_tenant_id, stated.status
            ) AS placement
        FROM (
            SELECT person_key, stated_tenant_id, sum(file_bytes) AS file_bytes
            FROM (
                SELECT person_key, stated_tenant_id, created_at_utc, file_bytes FROM batch.all_report
                UNION ALL
                SELECT person_key, stated_tenant_id, created_at_utc, file_bytes FROM batch.all_skill_evidence
            ) AS each_file
            WHERE created_at_utc < %(check_at)s::timestamptz AT TIME ZONE 'UTC'
            GROUP BY person_key, stated_tenant_id
        ) AS file
        LEFT JOIN batch.person_key AS known_person ON file.person_key = known_person.person_key AND known_person.is_decisive
        LEFT JOIN stated ON file.stated_tenant_id = stated.tenant_id
    ) AS placed
    WHERE batch.placed_tenant(placement, person_tenant_id, stated_tenant) = any(%(tenant_ids)s::text[])
    GROUP BY batch.placed_tenant(placement, person_tenant_id, stated_tenant)
),

-- A notification that is in the outbox counts as a message of the outbox.
waiting AS (
    SELECT
        tenant_id,
        jsonb_agg(jsonb_build_object('is_ours', is_ours, 'hours', hours, 'messages', messages)) AS messages
    FROM (
        SELECT
            tenant_id,
            is_ours,
            floor(extract(EPOCH FROM %(check_at)s::timestamptz - due_at) / 3600)::bigint AS hours,
            count(*) AS messages
        FROM (
            SELECT tenant_id, true AS is_ours, next_attempt_at AS due_at
            FROM batch.outbox
            -- A daily alert reports messages that wait for the approval after a pause. The board shows messages that an operator
            -- stopped.
            WHERE
                tenant_id = any(%(tenant_ids)s::text[]) AND finished_at IS null AND deferred_for IS null
                AND NOT EXISTS (
                    SELECT FROM batch.message_stop AS stop
                    WHERE stop.tenant_id = outbox.tenant_id AND coalesce(outbox.template_key <> all(stop.still_sent), true)
                )
            UNION ALL
            SELECT tenant_id, false AS is_ours, scheduled_at_utc AT TIME ZONE 'UTC' AS due_at
            FROM batch.all_waiting_notification AS notification
            WHERE
                tenant_id = any(%(tenant_ids)s::text[]) AND batch.is_dated(scheduled_at_utc)
                AND NOT EXISTS (
                    SELECT FROM batch.outbox AS taken
                    WHERE
                        taken.tenant_id = notification.tenant_id AND taken.host_log_id = notification.id
                        AND taken.finished_at IS null
                )
        ) AS message
        WHERE due_at <= %(check_at)s::timestamptz - interval '1 hour'
        GROUP BY tenant_id, is_ours, hours
    ) AS counted
    GROUP BY tenant_id
),

-- The newest failed run per tenant and batch. `failing` omits failures before a later success.
failure AS (
    SELECT DISTINCT ON (failed.tenant_id, log.batch_id)
        failed.tenant_id,
        log.batch_id,
        log.business_date,
        log.started_at,
        coalesce(failed.error_message, '処理されませんでした') AS reason
    FROM batch.execution_log AS log
    CROSS JOIN
        LATERAL (
            -- OFFSET as below.
            SELECT outcome.*
            FROM (
                SELECT failed_one.tenant_id, failed_one.error_message
                FROM batch.tenant_outcome AS failed_one
                WHERE failed_one.execution_id = log.execution_id AND failed_one.status = 'failed'
                UNION ALL
                -- The tenants that the run did not process. Few runs have any, and this reads all outcomes of the run.
                SELECT pending_one.tenant_id, pending_one.error_message
                FROM batch.tenant_outcome AS pending_one
                WHERE
                    pending_one.execution_id = log.execution_id AND pending_one.status = 'pending'
                    AND log.reopened_at IS null
                    AND log.error_count > (
                        SELECT count(DISTINCT counted.tenant_id)
                        FROM batch.tenant_outcome AS counted
                        WHERE counted.execution_id = log.execution_id AND counted.status = 'failed'
                    )
            ) AS outcome
            LIMIT ALL OFFSET 0 -- noqa: AM09
        ) AS failed
    WHERE
        log.error_count > 0 AND log.status <> 'running' AND NOT log.dry_run AND log.batch_id = any(%(batch_ids)s::text[])
        AND log.started_at >= %(failures_since)s AND failed.tenant_id = any(%(tenant_ids)s::text[])
    ORDER BY failed.tenant_id ASC, log.batch_id ASC, log.started_at DESC
),

failing AS (
    SELECT
        failure.tenant_id,
        jsonb_agg(
            jsonb_build_object(
                'batch_id', failure.batch_id, 'business_date', failure.business_date, 'reason', failure.reason
            ) ORDER BY failure.batch_id
        ) AS batches
    FROM failure
    WHERE
        NOT EXISTS (
            -- OFFSET makes the planner look up the outcomes by run. Otherwise it reads the outcomes of all runs.
            SELECT FROM batch.execution_log AS later
            CROSS JOIN
                LATERAL (
                    SELECT FROM batch.tenant_outcome AS outcome
                    WHERE
                        outcome.execution_id = later.execution_id
                        AND outcome.tenant_id = failure.tenant_id AND outcome.status = 'success'
                    LIMIT ALL OFFSET 0 -- noqa: AM09
                ) AS success
            WHERE
                later.started_at > failure.started_at AND NOT later.dry_run
                AND later.batch_id = any(
                    ARRAY[
                        failure.batch_id,
                        CASE WHEN failure.batch_id = %(billing_id)s THEN %(invoice_operations_id)s END
                    ]
                )
                AND (
                    later.batch_id = failure.batch_id
                    -- An operator has settled the tenant's month.
                    OR later.parameters ->> 'operation' IN ('approve', 'reissue')
                )
            LIMIT ALL OFFSET 0 -- noqa: AM09
        )
    GROUP BY failure.tenant_id
)

INSERT INTO batch.monitoring_signal (
    execution_id, tenant_id, measured_from, measures, last_activity_at, storage_bytes, subscription_plan,
    max_storage_gb, contract_end, waiting_messages, failing_batches, monitoring_overrides, usage_overrides,
    has_requests, has_logins
)
SELECT
    %(execution_id)s,
    scope.tenant_id,
    greatest(
        scope.wanted_from,
        CASE
            WHEN NOT scope.goes_on
                THEN
                    -- The first hour of the log may be incomplete.
                    least(
                        (
                            SELECT min(hour_utc) FROM happened
                            WHERE source = 'SYS_SystemLog'
                        ) AT TIME ZONE 'UTC' + interval '1 hour',
                        %(check_at)s::timestamptz - interval '1 hour'
                    )
        END
    ) AS measured_from,
    coalesce(by_tenant.measures, '[]') AS measures,
    activity.last_at_utc AT TIME ZONE 'UTC' AS last_activity_at,
    -- A figure without a source is null, not 0.
    CASE WHEN %(has_files)s THEN coalesce(stored.file_bytes, 0) END AS storage_bytes,
    tenant.subscription_plan,
    tenant.max_storage_gb,
    tenant.contract_end,
    coalesce(waiting.messages, '[]') AS waiting_messages,
    coalesce(failing.batches, '[]') AS failing_batches,
    coalesce(own_monitoring.overrides, '{}') AS monitoring_overrides,
    coalesce(own_usage.overrides, '{}') AS usage_overrides,
    %(has_requests)s,
    %(has_logins)s
FROM scope
LEFT JOIN tenant USING (tenant_id)
LEFT JOIN by_tenant USING (tenant_id)
LEFT JOIN activity USING (tenant_id)
LEFT JOIN stored USING (tenant_id)
LEFT JOIN waiting USING (tenant_id)
LEFT JOIN failing USING (tenant_id)
LEFT JOIN
    batch.setting_overrides('monitoring', %(tenant_ids)s, %(check_at)s::timestamptz AT TIME ZONE 'UTC') AS own_monitoring
    USING (tenant_id)
LEFT JOIN
    batch.setting_overrides('usage', %(tenant_ids)s, %(check_at)s::timestamptz AT TIME ZONE 'UTC') AS own_usage
    USING (tenant_id)
-- Two attempts (a task believed dead, and its retry) may collect concurrently. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;

-- name: mark_logins
-- The run has found the first logins.
UPDATE batch.monitoring_signal SET has_logins = true
WHERE execution_id = %(execution_id)s;

-- name: begin_tenants
INSERT INTO batch.monitored_tenant (tenant_id)
SELECT signal.tenant_id
FROM batch.monitoring_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s
    AND NOT EXISTS (
        SELECT FROM batch.monitored_tenant AS known
        WHERE known.tenant_id = signal.tenant_id
    )
ORDER BY signal.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;

-- name: lock_tenants
-- An incident depends on the previous state, so the second of two concurrent runs waits, and continues from the first one's
-- result.
SELECT known.tenant_id
FROM batch.monitored_tenant AS known
INNER JOIN batch.monitoring_signal AS signal ON known.tenant_id = signal.tenant_id
WHERE signal.execution_id = %(execution_id)s
ORDER BY known.tenant_id
FOR UPDATE OF known;
