-- The counts come from the outcome rows, so that a second closing (after an instance was cleared) is right as well. A total is
-- the sum over the tenants of each numeric figure in their details; `results` lists the tenants that failed, and every tenant's
-- own row stays in tenant_outcome.
WITH outcome AS (
    SELECT
        count(*) FILTER (WHERE status = 'success') AS success_count,
        count(*) FILTER (WHERE status <> 'success') AS error_count
    FROM batch.tenant_outcome
    WHERE execution_id = %(execution_id)s
),

totals AS (
    SELECT coalesce(jsonb_object_agg(name, total), '{}') AS by_name
    FROM (
        SELECT
            figure.key AS name,
            sum(figure.value::numeric) AS total
        FROM batch.tenant_outcome
        CROSS JOIN LATERAL jsonb_each(details) AS figure
        WHERE execution_id = %(execution_id)s AND status = 'success' AND jsonb_typeof(figure.value) = 'number'
        GROUP BY figure.key
    ) AS figures
),

listed AS (
    SELECT jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'status', status, 'error', error_message)) AS failures
    FROM (
        SELECT
            tenant_id,
            status,
            error_message
        FROM batch.tenant_outcome
        WHERE execution_id = %(execution_id)s AND status <> 'success'
        ORDER BY tenant_id
    ) AS failed_tenants
)

UPDATE batch.execution_log AS log
SET
    status = CASE
        WHEN %(error)s::text IS null AND outcome.error_count = 0 THEN 'completed'
        WHEN outcome.success_count > 0 THEN 'partial'
        ELSE 'failed'
    END,
    ended_at = clock_timestamp(),
    success_count = outcome.success_count,
    error_count = outcome.error_count,
    error_message = coalesce(
        %(error)s::text,
        CASE WHEN outcome.error_count > 0 THEN format('%%s テナント中 %%s 件失敗', log.total_tenants, outcome.error_count) END
    ),
    result = jsonb_build_object(
        'batchId', log.batch_id,
        'executedAt', to_jsonb(log.started_at),
        'totalTenants', log.total_tenants,
        'successCount', outcome.success_count,
        'errorCount', outcome.error_count,
        'results', coalesce(listed.failures, '[]'),
        'totals', totals.by_name
    )
FROM outcome, totals, listed
WHERE log.execution_id = %(execution_id)s
RETURNING
    log.batch_id,
    log.status,
    log.total_tenants,
    log.success_count,
    log.error_count;
