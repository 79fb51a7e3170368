-- name: old_system_log
SELECT id
FROM batch.all_system_log
WHERE created_at_utc < %(before)s;

-- name: delete_system_log
DELETE FROM batch.all_system_log
WHERE id = any(%(ids)s) AND created_at_utc < %(before)s;

-- name: old_expired_token
SELECT id
FROM batch.all_token
WHERE expires_at_utc < %(before)s;

-- name: delete_expired_token
DELETE FROM batch.all_token
WHERE id = any(%(ids)s) AND expires_at_utc < %(before)s;

-- name: old_sync_plan
SELECT tenant_id, provider, execution_id
FROM batch.sync_plan
WHERE planned_at < %(before)s;

-- name: delete_sync_plan
DELETE FROM batch.sync_plan AS plan
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[]) AS old (tenant_id, provider, execution_id)
WHERE
    plan.tenant_id = old.tenant_id
    AND plan.provider = old.provider
    AND plan.execution_id = old.execution_id
    AND plan.planned_at < %(before)s;

-- name: old_orphan_notice
SELECT execution_id
FROM batch.orphan_notice
WHERE told_at < %(before)s;

-- name: delete_orphan_notice
DELETE FROM batch.orphan_notice
WHERE execution_id = any(%(ids)s) AND told_at < %(before)s;

-- name: old_tenant_outcome
-- By run: OFFSET makes the outcomes of a run a look-up. Otherwise the planner may read the outcomes of all runs.
SELECT outcome.execution_id, outcome.tenant_id, outcome.part
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT own.execution_id, own.tenant_id, own.part
        FROM batch.tenant_outcome AS own
        WHERE own.execution_id = log.execution_id
        OFFSET 0 -- noqa: AM09
    ) AS outcome
WHERE log.started_at < %(before)s AND log.status <> 'running';

-- name: delete_tenant_outcome
DELETE FROM batch.tenant_outcome AS outcome
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[]) AS old (execution_id, tenant_id, part)
WHERE
    outcome.execution_id = old.execution_id
    AND outcome.tenant_id = old.tenant_id
    AND outcome.part = old.part;

-- name: old_task_metric
SELECT metric.execution_id, metric.task_id, metric.map_index::text AS map_index
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT own.execution_id, own.task_id, own.map_index
        FROM batch.task_metric AS own
        WHERE own.execution_id = log.execution_id
        OFFSET 0 -- noqa: AM09
    ) AS metric
WHERE log.started_at < %(before)s AND log.status <> 'running';

-- name: delete_task_metric
DELETE FROM batch.task_metric AS metric
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::integer[]) AS old (execution_id, task_id, map_index)
WHERE
    metric.execution_id = old.execution_id
    AND metric.task_id = old.task_id
    AND metric.map_index = old.map_index;

-- name: old_reconciliation
SELECT tally.execution_id, tally.source, tally.placement
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT own.execution_id, own.source, own.placement
        FROM batch.reconciliation AS own
        WHERE own.execution_id = log.execution_id
        OFFSET 0 -- noqa: AM09
    ) AS tally
WHERE log.started_at < %(before)s AND log.status <> 'running';

-- name: delete_reconciliation
DELETE FROM batch.reconciliation AS tally
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[]) AS old (execution_id, source, placement)
WHERE
    tally.execution_id = old.execution_id
    AND tally.source = old.source
    AND tally.placement = old.placement;

-- name: old_run_remark
SELECT remark.execution_id, remark.step
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT own.execution_id, own.step
        FROM batch.run_remark AS own
        WHERE own.execution_id = log.execution_id
        OFFSET 0 -- noqa: AM09
    ) AS remark
WHERE log.started_at < %(before)s AND log.status <> 'running';

-- name: delete_run_remark
DELETE FROM batch.run_remark AS remark
USING unnest(%(ids)s::text[], %(ids2)s::text[]) AS old (execution_id, step)
WHERE
    remark.execution_id = old.execution_id
    AND remark.step = old.step;

-- name: old_rows_scanned
SELECT scan.execution_id, scan.relation
FROM batch.execution_log AS log
CROSS JOIN
    LATERAL (
        SELECT own.execution_id, own.relation
        FROM batch.rows_scanned AS own
        WHERE own.execution_id = log.execution_id
        OFFSET 0 -- noqa: AM09
    ) AS scan
WHERE log.started_at < %(before)s AND log.status <> 'running';

-- name: delete_rows_scanned
DELETE FROM batch.rows_scanned AS scan
USING unnest(%(ids)s::text[], %(ids2)s::text[]) AS old (execution_id, relation)
WHERE
    scan.execution_id = old.execution_id
    AND scan.relation = old.relation;

-- name: old_execution_log
SELECT execution_id
FROM batch.execution_log
WHERE started_at < %(before)s AND status <> 'running';

-- name: delete_execution_log
DELETE FROM batch.execution_log
WHERE execution_id = any(%(ids)s) AND started_at < %(before)s AND status <> 'running';

-- name: old_closed_incident
SELECT tenant_id, check_name, opened_at
FROM batch.incident
WHERE closed_at < %(before)s;

-- name: delete_closed_incident
DELETE FROM batch.incident
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::timestamptz[]) AS old (tenant_id, check_name, opened_at)
WHERE
    incident.tenant_id = old.tenant_id
    AND incident.check_name = old.check_name
    AND incident.opened_at = old.opened_at
    AND incident.closed_at < %(before)s;

-- name: old_closed_platform_incident
SELECT check_name, opened_at
FROM batch.platform_incident
WHERE closed_at < %(before)s;

-- name: delete_closed_platform_incident
DELETE FROM batch.platform_incident AS incident
USING unnest(%(ids)s::text[], %(ids2)s::timestamptz[]) AS old (check_name, opened_at)
WHERE
    incident.check_name = old.check_name
    AND incident.opened_at = old.opened_at
    AND incident.closed_at < %(before)s;

-- name: old_performance_metric
SELECT execution_id
FROM batch.performance_metric
WHERE recorded_at < %(before)s;

-- name: delete_performance_metric
DELETE FROM batch.performance_metric
WHERE execution_id = any(%(ids)s) AND recorded_at < %(before)s;

-- name: old_settled_alert
-- Alerts that were delivered or given up.
SELECT alert_key, channel
FROM batch.operator_alert
WHERE due_at IS null AND coalesce(delivered_at, created_at) < %(before)s;

-- name: delete_settled_alert
DELETE FROM batch.operator_alert AS alert
USING unnest(%(ids)s::text[], %(ids2)s::text[]) AS old (alert_key, channel)
WHERE
    alert.alert_key = old.alert_key
    AND alert.channel = old.channel
    AND alert.due_at IS null
    AND coalesce(alert.delivered_at, alert.created_at) < %(before)s;
