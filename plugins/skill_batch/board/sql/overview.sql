-- name: newest_runs
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.status, run.started_at,
    run.ended_at, run.total_tenants, run.success_count, run.error_count, run.error_message, run.reopened_at, run.triggered_by,
    nullif(run.chosen_tenants, '[]') AS chosen_tenants, metric.execution_seconds
FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
CROSS JOIN
    LATERAL (
        SELECT newest.*
        FROM batch.board_run AS newest
        WHERE newest.batch_id = listed.batch_id AND NOT newest.dry_run
        ORDER BY newest.started_at DESC
        LIMIT 1
    ) AS run
LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id;

-- name: open_runs
-- Each batch's ended runs that did not complete, without dry runs, starting with the last run for all tenants. A later run for
-- some tenants, or with a rejected form, does not resolve an earlier failure.
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.status, run.started_at,
    run.ended_at, run.total_tenants, run.success_count, run.error_count, run.error_message, run.reopened_at, run.triggered_by,
    nullif(run.chosen_tenants, '[]') AS chosen_tenants, metric.execution_seconds, run.result -> 'codes' AS codes,
    run.operation
FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
LEFT JOIN
    LATERAL (
        SELECT whole.started_at
        FROM batch.board_run AS whole
        WHERE
            whole.batch_id = listed.batch_id AND whole.status <> 'running' AND NOT whole.dry_run
            AND coalesce(whole.result -> 'codes' <> '["ParameterError"]', true)
            AND nullif(nullif(whole.chosen_tenants, '[]'), 'null') IS null
        ORDER BY whole.started_at DESC
        LIMIT 1
    ) AS last_whole
    ON true
INNER JOIN batch.board_run AS run ON listed.batch_id = run.batch_id
LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id
WHERE
    run.status IN ('partial', 'failed') AND NOT run.dry_run
    AND run.started_at >= coalesce(last_whole.started_at, '-infinity')
ORDER BY run.started_at DESC
LIMIT %(most)s;

-- name: night_runs
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.status, run.started_at,
    run.ended_at, run.total_tenants, run.success_count, run.error_count, run.error_message, run.reopened_at, run.triggered_by,
    nullif(run.chosen_tenants, '[]') AS chosen_tenants, metric.execution_seconds
FROM batch.board_run AS run
LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id
WHERE
    run.batch_id = any(%(batch_ids)s) AND NOT run.dry_run
    AND run.started_at >= %(begins_at)s AND run.started_at < %(ends_at)s
ORDER BY run.started_at
LIMIT 500;

-- name: run_days
-- The worst run of each batch and day (Asia/Tokyo), without dry runs.
SELECT DISTINCT ON (listed.batch_id, listed.day)
    listed.batch_id, listed.day, listed.dag_id, listed.run_id, listed.status, listed.error_count
FROM (
    SELECT batch_id, (started_at AT TIME ZONE 'Asia/Tokyo')::date AS day, dag_id, run_id, status, error_count, started_at
    FROM batch.board_run
    WHERE batch_id = any(%(batch_ids)s) AND NOT dry_run AND started_at >= %(since)s::date::timestamp AT TIME ZONE 'Asia/Tokyo'
) AS listed
ORDER BY
    listed.batch_id ASC, listed.day ASC,
    array_position(ARRAY['failed', 'partial', 'running', 'completed'], listed.status) ASC, listed.started_at DESC;

-- name: resolved_failures
-- The runs with a failure alert since a time that succeeded since another time: the run was cleared, or a later run succeeded. A
-- key is failure:dag:run:batch:attempt (failure_key in the notifiers).
SELECT
    run.batch_id, run.dag_id, run.run_id, run.started_at,
    CASE run.status WHEN 'completed' THEN run.ended_at ELSE later.ended_at END AS resolved_at, later.triggered_by
FROM (
    SELECT DISTINCT regexp_replace(alert.alert_key, ':[^:]*$', '') AS told
    FROM batch.board_alert AS alert
    WHERE alert.alert_key LIKE 'failure:%%' AND alert.created_at > %(told_since)s
) AS failure
INNER JOIN batch.board_run AS run
    ON
        concat_ws(':', 'failure', run.dag_id, run.run_id, run.batch_id) = failure.told
        AND run.batch_id = any(%(batch_ids)s) AND NOT run.dry_run AND run.started_at > %(told_since)s
LEFT JOIN
    LATERAL (
        SELECT whole.ended_at, whole.triggered_by
        FROM batch.board_run AS whole
        WHERE
            whole.batch_id = run.batch_id AND whole.started_at > run.started_at AND whole.status = 'completed'
            AND NOT whole.dry_run AND run.status <> 'completed'
        ORDER BY whole.started_at
        LIMIT 1
    ) AS later
    ON true
WHERE run.reopened_at IS null AND CASE run.status WHEN 'completed' THEN run.ended_at ELSE later.ended_at END > %(since)s
ORDER BY resolved_at DESC, run.execution_id ASC
LIMIT %(most)s;

-- name: undecided_messages
-- Undelivered and ambiguous messages without an operator's decision, from any run, and closed channels. Unsubscribed recipients
-- count only for contract e-mails. Counts up to a limit.
SELECT
    count(*) AS messages,
    count(*) FILTER (WHERE listed.template_key = any(%(contract_letters)s)) AS letters,
    (SELECT count(*) FROM batch.board_channel_circuit) AS channels
FROM (
    SELECT message.template_key
    FROM batch.board_message AS message
    WHERE
        message.status IN ('dead', 'expired', 'ambiguous')
        AND (NOT message.is_unwanted OR message.template_key = any(%(contract_letters)s))
    LIMIT %(most)s -- noqa: AM09
) AS listed;

-- name: whole_starts
-- The start of each batch's newest run for all tenants, regardless of later other runs. Dry runs do not count.
SELECT listed.batch_id, whole.started_at
FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
CROSS JOIN
    LATERAL (
        SELECT newest.started_at
        FROM batch.board_run AS newest
        WHERE
            newest.batch_id = listed.batch_id AND NOT newest.dry_run
            AND nullif(nullif(newest.chosen_tenants, '[]'), 'null') IS null
        ORDER BY newest.started_at DESC
        LIMIT 1
    ) AS whole;

-- name: active_runs
-- The active runs of batches and operations, and the runs on which a cleared task works again.
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.status, run.started_at,
    run.ended_at, run.total_tenants, run.success_count, run.error_count, run.error_message, run.reopened_at, run.triggered_by,
    nullif(run.chosen_tenants, '[]') AS chosen_tenants, null::numeric AS execution_seconds
FROM batch.board_run AS run
WHERE run.batch_id = any(%(batch_ids)s) AND (run.status = 'running' OR run.reopened_at IS NOT null)
ORDER BY run.started_at DESC
LIMIT %(most)s;

-- name: usual_seconds
-- The average duration of each batch's last comparable runs. Batches with too few are left out.
SELECT listed.batch_id, avg(history.execution_seconds) AS seconds
FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
CROSS JOIN
    LATERAL (
        SELECT board_performance.execution_seconds
        FROM batch.board_performance
        WHERE board_performance.batch_id = listed.batch_id AND board_performance.is_comparable
        ORDER BY board_performance.recorded_at DESC
        LIMIT %(last_runs)s
    ) AS history
GROUP BY listed.batch_id
HAVING count(*) >= %(least_runs)s;

-- name: failed_tenants
-- These runs' tenants that failed, or have no result although the run ended, by reason: for each reason the first "listed" ones,
-- with the number of all. The part "missing" reads all outcomes, so it runs only if the counts show missing ones, or if a
-- tenant's work has parts, which the counts do not contain.
WITH run AS (
    SELECT
        chosen.execution_id, chosen.batch_id, chosen.business_date, chosen.started_at, chosen.reopened_at, chosen.status,
        chosen.error_count
    FROM batch.board_run AS chosen
    WHERE chosen.execution_id = any(%(execution_ids)s)
),

failed AS (
    SELECT outcome.execution_id, outcome.tenant_id, outcome.part, outcome.error_code, outcome.error_message, outcome.attempts
    FROM run
    INNER JOIN batch.board_outcome AS outcome ON run.execution_id = outcome.execution_id
    WHERE outcome.status = 'failed'
),

counted AS (
    SELECT
        run.execution_id,
        coalesce(run.error_count > count(DISTINCT failed.tenant_id), true)
        OR coalesce(bool_or(failed.part <> ''), false) AS may_miss_some
    FROM run
    LEFT JOIN failed ON run.execution_id = failed.execution_id
    WHERE run.status <> 'running' AND run.reopened_at IS null
    GROUP BY run.execution_id, run.error_count
),

missing AS (
    SELECT outcome.execution_id, outcome.tenant_id, outcome.part, outcome.error_code, outcome.error_message, outcome.attempts
    FROM counted
    CROSS JOIN
        LATERAL (
            SELECT candidate.*
            FROM batch.board_outcome AS candidate
            WHERE
                counted.may_miss_some
                AND candidate.execution_id = counted.execution_id AND candidate.status = 'pending'
        ) AS outcome
),

still_open AS (
    SELECT outcome.*
    FROM (
        SELECT * FROM failed
        UNION ALL
        SELECT * FROM missing
    ) AS outcome
    WHERE
        NOT %(only_open)s
        OR NOT EXISTS (
            -- A later run for the same day succeeded.
            SELECT FROM run
            INNER JOIN batch.board_run AS later
                ON
                    run.batch_id = later.batch_id
                    AND run.business_date = later.business_date
                    AND run.started_at < later.started_at
            INNER JOIN batch.board_outcome AS success ON later.execution_id = success.execution_id
            WHERE
                run.execution_id = outcome.execution_id AND NOT later.dry_run
                AND success.tenant_id = outcome.tenant_id AND success.part = outcome.part AND success.status = 'success'
        )
),

ranked AS (
    SELECT
        still_open.*,
        row_number() OVER reason AS position,
        count(*)
            OVER (PARTITION BY still_open.execution_id, coalesce(still_open.error_code, still_open.error_message, ''))
            AS tenants
    FROM still_open
    WINDOW reason AS (
        PARTITION BY execution_id, coalesce(error_code, error_message, '') ORDER BY tenant_id, part
    )
)

SELECT
    ranked.execution_id, ranked.tenant_id, ranked.part, ranked.error_code, ranked.error_message, ranked.attempts,
    ranked.tenants,
    coalesce(tenant.tenant_code, ranked.tenant_id) AS tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name,
    tenant.tenant_id IS NOT null AS is_tenant
FROM ranked
LEFT JOIN batch.board_tenant AS tenant ON ranked.tenant_id = tenant.tenant_id
WHERE ranked.position <= %(listed)s
ORDER BY ranked.tenants DESC, ranked.error_code ASC, ranked.position ASC;

-- name: progress
SELECT
    execution_id,
    count(*) AS total,
    count(*) FILTER (WHERE status <> 'pending') AS done,
    count(*) FILTER (WHERE status = 'failed') AS failed
FROM batch.board_outcome
WHERE execution_id = any(%(execution_ids)s)
GROUP BY execution_id;

-- name: ended_runs
SELECT DISTINCT run.dag_id, run.run_id
FROM unnest(%(dag_ids)s::text[], %(run_ids)s::text[]) AS failed (dag_id, run_id)
INNER JOIN batch.board_run AS run ON failed.dag_id = run.dag_id AND failed.run_id = run.run_id
WHERE run.status <> 'running';

-- name: failed_without_card
-- Failed runs of operations, and failed dry runs. Runs without a starting user come first, because they need attention.
SELECT
    execution_id, batch_id, dag_id, run_id, operation, dry_run, started_at, error_message, triggered_by,
    count(*) OVER () AS hits
FROM batch.board_run
WHERE
    (batch_id = any(%(operation_ids)s) OR (batch_id = any(%(batch_ids)s) AND dry_run))
    AND started_at > %(since)s AND status IN ('partial', 'failed') AND reopened_at IS null
ORDER BY triggered_by IS null AND NOT dry_run DESC, started_at DESC
LIMIT %(most)s;

-- name: told_reasons
-- The newest failure alert about each batch in these runs. A key is failure:dag:run:batch:attempt (failure_key in the notifiers).
SELECT DISTINCT ON (failed.dag_id, failed.run_id, split_part(alert.alert_key, ':', -2))
    failed.dag_id, failed.run_id, alert.lines, alert.kinds
FROM unnest(%(dag_ids)s::text[], %(run_ids)s::text[]) AS failed (dag_id, run_id)
INNER JOIN batch.board_alert AS alert
    ON
        concat_ws(':', 'failure', failed.dag_id, failed.run_id)
        = regexp_replace(alert.alert_key, ':[^:]*:[^:]*$', '')
WHERE alert.created_at > %(since)s
ORDER BY failed.dag_id ASC, failed.run_id ASC, split_part(alert.alert_key, ':', -2) ASC, alert.created_at DESC;

-- name: recent_alerts
-- The alerts about runs of these DAGs, each once, with the channels that have not received it: first all undelivered CRITICAL
-- ones, then "listed" others, undelivered ones first. Alerts to a user have a separate limit. "undelivered" also counts those
-- that are not listed. The key of an alert is its kind, then the DAG's id or the run's execution id.
WITH alert AS (
    SELECT
        alert_key, max(severity) AS severity, max(title) AS title, max(page) AS page, max(triggering_user) AS triggering_user,
        min(created_at) AS created_at,
        array_agg(channel ORDER BY channel) FILTER (WHERE delivered_at IS null) AS missing,
        max(last_error) FILTER (WHERE delivered_at IS null) AS last_error
    FROM batch.board_alert
    WHERE
        created_at > %(undelivered_since)s
        AND (
            split_part(alert_key, ':', 2) = any(%(dag_ids)s)
            OR split_part(split_part(alert_key, ':', 2), '_', 1) = any(%(batch_ids)s)
        )
    GROUP BY alert_key
),

shown AS (
    SELECT
        alert.*,
        alert.triggering_user IS NOT null AS is_personal,
        alert.missing IS NOT null AS is_undelivered,
        alert.missing IS NOT null AND alert.severity = 'CRITICAL' AS is_urgent
    FROM alert
    WHERE alert.missing IS NOT null OR alert.created_at > %(since)s
),

ranked AS (
    SELECT
        shown.*,
        count(*) FILTER (WHERE shown.is_undelivered) OVER (PARTITION BY shown.is_personal) AS undelivered,
        row_number() OVER (
            PARTITION BY shown.is_personal, shown.is_urgent ORDER BY shown.is_undelivered DESC, shown.created_at DESC
        ) AS position
    FROM shown
)

SELECT
    alert_key, severity, title, page, triggering_user, created_at, missing, last_error, is_personal, undelivered
FROM ranked
WHERE is_urgent OR position <= %(listed)s
ORDER BY is_urgent DESC, is_undelivered DESC, created_at DESC;

-- name: open_incidents
SELECT
    count(*) FILTER (WHERE severity = 'critical') AS critical,
    count(*) FILTER (WHERE severity = 'warning') AS warning,
    (
        SELECT count(*) FROM batch.board_platform_incident
        WHERE closed_at IS null
    ) AS platform
FROM batch.board_incident
WHERE closed_at IS null;

-- name: waiting_of_kinds
-- The number of entries that wait for approval by kind, since when, and the earliest month of their invoices.
SELECT kind, count(*) AS entries, min(entered_at) AS oldest, min(period_start) AS month
FROM batch.board_waiting_entry
WHERE kind = any(%(kinds)s)
GROUP BY kind
ORDER BY oldest;

-- name: held_directories
-- The number of directories with changes that wait for an answer, as on the page of findings.
SELECT count(*) AS directories, min(decided.planned_at) AS oldest
FROM (
    SELECT DISTINCT tenant_id, provider
    FROM batch.board_sync_plan
    WHERE status = 'held'
) AS known
INNER JOIN batch.board_tenant AS tenant ON known.tenant_id = tenant.tenant_id
CROSS JOIN
    LATERAL (
        SELECT done.status, done.planned_at
        FROM batch.board_sync_plan AS done
        WHERE done.tenant_id = known.tenant_id AND done.provider = known.provider AND done.status IN ('held', 'applied')
        ORDER BY done.planned_at DESC
        LIMIT 1
    ) AS decided
WHERE decided.status = 'held' AND tenant.status <> 'DELETED';

-- name: newest_verified_backup
SELECT backup.backup_id, backup.snapshot_at, backup.verified_at, metric.execution_seconds
FROM batch.board_backup AS backup
LEFT JOIN batch.board_performance AS metric ON backup.execution_id = metric.execution_id
WHERE backup.status = 'verified'
ORDER BY backup.snapshot_at DESC
LIMIT 1;
