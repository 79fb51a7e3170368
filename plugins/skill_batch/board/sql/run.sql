-- name: run_of
-- The latest execution of a run and batch. A run that was restarted from its beginning has several.
SELECT
    run.batch_id, run.execution_id, run.dag_id, run.run_id, run.business_date, run.dry_run, run.operation, run.reason,
    nullif(run.chosen_tenants, '[]') AS chosen_tenants, run.shown, run.status, run.started_at, run.ended_at, run.total_tenants,
    run.success_count, run.error_count, run.error_message, run.reopened_at, run.triggered_by, run.version, run.result, run.backup,
    run.result -> 'codes' AS codes, metric.execution_seconds, metric.cpu_seconds, metric.peak_memory_bytes,
    metric.records_processed
FROM batch.board_run AS run
LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id
WHERE run.dag_id = %(dag_id)s AND run.run_id = %(run_id)s
ORDER BY run.started_at DESC;

-- name: run_results
SELECT
    outcome.tenant_id, coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, outcome.details, outcome.notes, outcome.records, outcome.status,
    tenant.tenant_id IS NOT null AS is_tenant, count(*) OVER () AS hits
FROM batch.board_outcome AS outcome
LEFT JOIN batch.board_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s
ORDER BY tenant_code, outcome.part
LIMIT %(most)s;

-- name: run_documents
-- The run's documents, and its tenants' documents with these numbers.
SELECT
    coalesce(tenant.tenant_code, invoice.tenant_id) AS tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name,
    invoice.invoice_id, invoice.number, invoice.total, invoice.currency, invoice.state, invoice.open_amount,
    count(*) OVER () AS hits
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
WHERE
    invoice.execution_id = %(execution_id)s OR invoice.voided_by = %(execution_id)s
    OR (invoice.number = any(%(numbers)s) AND invoice.tenant_id = any(%(tenant_ids)s))
ORDER BY tenant_code, invoice.number, invoice.invoice_id
LIMIT %(most)s;

-- name: worked_tenants
SELECT DISTINCT outcome.tenant_id, outcome.status, tenant.tenant_code, tenant.tenant_name
FROM batch.board_outcome AS outcome
INNER JOIN batch.board_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s;

-- name: run_by_id
SELECT dag_id, run_id
FROM batch.board_run
WHERE execution_id = %(execution_id)s;

-- name: remarks
SELECT step, details, problem, is_reported, recorded_at
FROM batch.board_remark
WHERE execution_id = %(execution_id)s
ORDER BY step;

-- name: reconciliation
SELECT source, placement, is_event, row_count, since
FROM batch.board_reconciliation
WHERE execution_id = %(execution_id)s
ORDER BY source ASC, row_count DESC, placement ASC;

-- name: notes
-- The notes about tenants, at most "most".
SELECT
    outcome.tenant_id, coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, outcome.part, outcome.notes, '[]'::jsonb AS figures,
    tenant.tenant_id IS NOT null AS is_tenant,
    count(*) OVER () AS hits
FROM batch.board_outcome AS outcome
LEFT JOIN batch.board_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s AND outcome.notes <> '{}'
ORDER BY tenant_code, outcome.part
LIMIT %(most)s;

-- name: alerts_of
-- The keys of skill_batch.notifiers are kind:dag:run with the kind's further parts, or digest:execution:hash.
SELECT alert_key, channel, severity, title, lines, created_at, delivered_at, due_at, last_error, kinds
FROM batch.board_alert
WHERE
    created_at >= %(since)s
    AND (
        substr(alert_key, strpos(alert_key, ':') + 1) = %(run)s
        OR starts_with(substr(alert_key, strpos(alert_key, ':') + 1), %(run)s || ':')
        OR split_part(alert_key, ':', 2) = any(%(execution_ids)s)
    )
ORDER BY created_at DESC, channel ASC
LIMIT %(most)s;
