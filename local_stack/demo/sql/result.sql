-- name: run
-- The last run of the batch that started at or after "since". Its facts are its totals and what its steps have counted.
SELECT
    log.execution_id,
    log.status,
    log.business_date,
    log.total_tenants AS total,
    log.success_count AS succeeded,
    log.error_count AS failed,
    performance.records_processed AS records,
    round(performance.execution_seconds, 2) AS seconds,
    round(performance.peak_memory_bytes / 1048576.0) AS peak_memory_mb,
    coalesce(log.result -> 'totals', '{}') || coalesce(
        (
            SELECT jsonb_object_agg(counted.name, counted.value)
            FROM jsonb_each(log.result -> 'steps') AS step
            CROSS JOIN LATERAL jsonb_each(step.value) AS counted (name, value)
        ),
        '{}'
    ) AS facts
FROM batch.execution_log AS log
INNER JOIN batch.performance_metric AS performance USING (execution_id)
WHERE log.batch_id = %(batch_id)s AND log.started_at >= coalesce(%(since)s::timestamptz, '-infinity')
ORDER BY log.started_at DESC
LIMIT 1;

-- name: outcomes
-- What the run has recorded of each tenant, or of each other unit.
SELECT
    coalesce(tenant.tenant_code, outcome.tenant_id) AS unit,
    tenant.tenant_name AS name,
    outcome.part,
    outcome.details,
    outcome.error_message AS error,
    outcome.notes
FROM batch.tenant_outcome AS outcome
LEFT JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE outcome.execution_id = %(execution_id)s
ORDER BY outcome.tenant_id, outcome.part;

-- name: digest
-- The lines of the run's digests in the operators' Slack.
SELECT digest.line
FROM batch.operator_alert AS alert
CROSS JOIN
    LATERAL jsonb_array_elements_text(jsonb_build_array(alert.message ->> 'title') || (alert.message -> 'lines'))
    WITH ORDINALITY AS digest (line, place)
WHERE starts_with(alert.alert_key, 'digest:' || %(execution_id)s || ':') AND alert.channel = 'slack'
ORDER BY alert.created_at, digest.place;
