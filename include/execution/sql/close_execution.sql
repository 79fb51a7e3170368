-- The counts come from the outcome rows, so that a second closing (after an instance was cleared) is right as well. A total is
-- the sum over the tenants of each numeric figure in their details; `results` lists what failed, and every tenant's own rows stay
-- in tenant_outcome. A tenant whose work falls into parts has succeeded when all of them have.
WITH outcome AS (
    SELECT
        count(*) FILTER (WHERE has_succeeded) AS success_count,
        count(*) FILTER (WHERE NOT has_succeeded) AS error_count
    FROM (
        SELECT bool_and(status = 'success') AS has_succeeded
        FROM batch.tenant_outcome
        WHERE execution_id = %(execution_id)s
        GROUP BY tenant_id
    ) AS tenants
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
    SELECT
        jsonb_agg(
            jsonb_build_object('tenantId', tenant_id, 'status', status, 'error', error_message)
            || CASE WHEN part = '' THEN '{}' ELSE jsonb_build_object('part', part) END
        ) AS failures
    FROM (
        SELECT
            tenant_id,
            part,
            status,
            error_message
        FROM batch.tenant_outcome
        WHERE execution_id = %(execution_id)s AND status <> 'success'
        ORDER BY tenant_id, part
    ) AS failed_parts
)

UPDATE batch.execution_log AS log
SET
    status = CASE
        WHEN %(error)s::text IS null AND outcome.error_count = 0 THEN 'completed'
        WHEN outcome.success_count > 0 THEN 'partial'
        ELSE 'failed'
    END,
    ended_at = clock_timestamp(),
    attempt = %(attempt)s,
    reopened_at = null,
    success_count = outcome.success_count,
    error_count = outcome.error_count,
    error_message = coalesce(
        %(error)s::text,
        CASE
            WHEN outcome.error_count > 0
                THEN
                    format(
                        '%%s %%s中 %%s 件失敗',
                        log.total_tenants,
                        CASE WHEN log.batch_id = any(%(not_per_tenant)s) THEN '件' ELSE 'テナント' END,
                        outcome.error_count
                    )
        END
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
