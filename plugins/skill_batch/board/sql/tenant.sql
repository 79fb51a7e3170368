-- name: tenant_of
-- "chosen_as" is the text in a form's field "tenants" that selects only this tenant: its code, or its id if the code is not
-- unique. Null: there is no such text.
SELECT
    tenant.tenant_id, tenant.tenant_code, tenant.tenant_name, tenant.status,
    coalesce(contract.terms ->> 'plan', tenant.subscription_plan) AS subscription_plan, tenant.max_users,
    tenant.max_storage_gb, tenant.contract_start, tenant.contract_end, tenant.created_on,
    CASE
        WHEN same.codes = 1 THEN tenant.tenant_code
        WHEN same.ids = 0 THEN tenant.tenant_id
    END AS chosen_as
FROM batch.board_tenant AS tenant
LEFT JOIN batch.board_contract_term AS contract
    ON
        tenant.tenant_id = contract.tenant_id AND contract.kind = 'plan' AND contract.valid_from <= %(today)s
        AND coalesce(contract.valid_to >= %(today)s, true)
CROSS JOIN
    LATERAL (
        SELECT
            count(*) FILTER (WHERE other.tenant_code = tenant.tenant_code) AS codes,
            count(*) FILTER (WHERE other.tenant_code = tenant.tenant_id) AS ids
        FROM batch.board_tenant AS other
    ) AS same
WHERE tenant.tenant_id = %(tenant_id)s;

-- name: tenant_circuits
SELECT channel, error_code, reason, opened_at
FROM batch.board_channel_circuit
WHERE tenant_id = %(tenant_id)s
ORDER BY channel;

-- name: tenant_outcomes
-- Each batch's newest real run with an outcome for the tenant; one row per part of its work.
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.started_at, run.status AS run_status,
    run.operation, outcome.part, outcome.status, outcome.notes, outcome.records, outcome.error_code, outcome.error_message,
    outcome.attempts, outcome.recorded_at
FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
CROSS JOIN
    LATERAL (
        SELECT candidate.*
        FROM (
            SELECT real_run.*
            FROM batch.board_run AS real_run
            WHERE real_run.batch_id = listed.batch_id AND NOT real_run.dry_run
            ORDER BY real_run.started_at DESC
            LIMIT %(last_runs)s
        ) AS candidate
        WHERE
            EXISTS (
                SELECT FROM batch.board_outcome AS known
                WHERE known.execution_id = candidate.execution_id AND known.tenant_id = %(tenant_id)s
            )
        ORDER BY candidate.started_at DESC
        LIMIT 1
    ) AS run
INNER JOIN batch.board_outcome AS outcome
    ON run.execution_id = outcome.execution_id AND outcome.tenant_id = %(tenant_id)s
ORDER BY run.batch_id, outcome.part;

-- name: tenant_usage
SELECT usage_date, active_users, storage_bytes, api_calls, reports_generated, closed_by
FROM batch.board_usage_day
WHERE tenant_id = %(tenant_id)s AND usage_date BETWEEN %(first)s AND %(last)s
ORDER BY usage_date;

-- name: tenant_usage_warnings
SELECT kind, metric, threshold_percent, business_date, observed, reference, raised_by
FROM batch.board_usage_warning
WHERE tenant_id = %(tenant_id)s
ORDER BY business_date DESC, kind ASC, metric ASC, threshold_percent DESC
LIMIT %(most)s;

-- name: tenant_invoices
SELECT
    invoice.invoice_id, invoice.kind, invoice.period_start, invoice.status, invoice.number, invoice.currency, invoice.total,
    invoice.due_on, invoice.hold_reason, invoice.state, invoice.void_reason, invoice.written_off_total, receivable.open_amount,
    count(*) OVER () AS hits
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_receivable AS receivable ON invoice.invoice_id = receivable.invoice_id
WHERE invoice.tenant_id = %(tenant_id)s
ORDER BY invoice.period_start DESC, invoice.created_at DESC
LIMIT %(most)s;

-- name: tenant_reminder_stops
SELECT stop.invoice_id, invoice.number, invoice.period_start, stop.reason, stop.entered_by, stop.entered_at
FROM batch.board_reminder_stop AS stop
LEFT JOIN batch.board_invoice AS invoice
    ON stop.invoice_id = invoice.invoice_id AND stop.tenant_id = invoice.tenant_id
WHERE stop.tenant_id = %(tenant_id)s
ORDER BY stop.entered_at DESC
LIMIT %(most)s;

-- name: tenant_incidents
SELECT
    check_name, severity, evidence, opened_at, breached_at, reopened, closed_at, closed_because, is_part_of_platform,
    opened_by, count(*) OVER () AS hits
FROM batch.board_incident
WHERE tenant_id = %(tenant_id)s
ORDER BY closed_at IS null DESC, opened_at DESC, check_name ASC
LIMIT %(most)s;

-- name: tenant_inactivity
SELECT stage, last_activity_on, inactive_since, judged_on, entered_on, entered_by
FROM batch.board_inactivity
WHERE tenant_id = %(tenant_id)s;

-- name: tenant_inactivity_changes
SELECT changed_on, from_stage, to_stage, reason, inactive_days, recorded_by
FROM batch.board_inactivity_change
WHERE tenant_id = %(tenant_id)s
ORDER BY changed_on DESC, recorded_at DESC
LIMIT %(most)s;

-- name: tenant_messages
SELECT message_id, channel, status, recipient, template_key, attempts, error_code, created_at, finished_at
FROM batch.board_message
WHERE tenant_id = %(tenant_id)s
ORDER BY created_at DESC
LIMIT %(most)s;

-- name: tenant_message_counts
-- The messages since a time, and older ones that are unfinished or undelivered, by state.
SELECT status, sum(messages)::bigint AS messages
FROM (
    SELECT status, count(*) AS messages
    FROM batch.board_message
    WHERE tenant_id = %(tenant_id)s AND created_at >= %(since)s
    GROUP BY status
    UNION ALL
    SELECT status, count(*) AS messages
    FROM batch.board_message
    WHERE tenant_id = %(tenant_id)s AND created_at < %(since)s AND finished_at IS null
    GROUP BY status
    UNION ALL
    SELECT status, count(*) AS messages
    FROM batch.board_message
    WHERE tenant_id = %(tenant_id)s AND created_at < %(since)s AND status IN ('dead', 'expired')
    GROUP BY status
) AS counted
GROUP BY status
ORDER BY status;

-- name: tenant_reports
SELECT
    report_month, missing_days, revision, made_at, made_by, count(format) AS files, sum(size_bytes)::bigint AS size_bytes,
    array_agg(format ORDER BY format) FILTER (WHERE format IS NOT null) AS formats
FROM batch.board_report
WHERE tenant_id = %(tenant_id)s
GROUP BY report_month, missing_days, revision, made_at, made_by
ORDER BY report_month DESC
LIMIT %(most)s;

-- name: tenant_backup
-- The latest verified backup, and its run's outcome for the tenant. "has_run" is false if the run's rows were deleted.
SELECT
    backup.backup_id, backup.business_date, backup.snapshot_at, backup.verified_at, run.execution_id IS NOT null AS has_run,
    outcome.status AS export_status, outcome.records, outcome.error_message
FROM (
    SELECT backup_id, execution_id, business_date, snapshot_at, verified_at
    FROM batch.board_backup
    WHERE status = 'verified'
    ORDER BY snapshot_at DESC
    LIMIT 1
) AS backup
LEFT JOIN batch.board_run AS run ON backup.execution_id = run.execution_id
LEFT JOIN batch.board_outcome AS outcome
    ON backup.execution_id = outcome.execution_id AND outcome.tenant_id = %(tenant_id)s;

-- name: tenant_directories
-- Each service with its last applied listing and its newest plan.
SELECT
    coalesce(applied.provider, newest.provider) AS provider, applied.synced_on, newest.status AS plan_status, newest.reason,
    newest.counts, newest.planned_at, newest.execution_id
FROM (
    SELECT provider, synced_on
    FROM batch.board_directory_sync
    WHERE tenant_id = %(tenant_id)s
) AS applied
FULL OUTER JOIN (
    SELECT DISTINCT ON (provider) provider, status, reason, counts, planned_at, execution_id
    FROM batch.board_sync_plan
    WHERE tenant_id = %(tenant_id)s
    ORDER BY provider ASC, planned_at DESC
) AS newest ON applied.provider = newest.provider
ORDER BY provider;

-- name: tenant_findings
SELECT subject, code, detail, found_on
FROM batch.board_setting_finding
WHERE tenant_id = %(tenant_id)s
ORDER BY found_on DESC, subject ASC, code ASC
LIMIT %(most)s;

-- name: tenant_setting_changes
SELECT setting_key, changed_at, execution_id, kind, reason, changed_by, undone_at, count(*) OVER () AS hits
FROM batch.board_setting_change
WHERE tenant_id = %(tenant_id)s
ORDER BY changed_at DESC, setting_key ASC
LIMIT %(most)s;

-- name: may_delete
SELECT with_deletion
FROM batch.board_deployment;

-- name: tenant_offboardings
SELECT
    tenant_code, tenant_name, stage, reason, begun_by, begun_at, exported_by, exported_at, customer_file, waits_until, asked_by,
    asked_at, approved_by, approved_at, deleting_since, problem, deleted_at, cancelled_by, cancelled_at, rows_to_change, rows_done
FROM batch.board_offboarding
WHERE tenant_id = %(tenant_id)s
ORDER BY begun_at DESC
LIMIT %(most)s;
