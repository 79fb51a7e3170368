-- name: running_executions
SELECT
    execution_id,
    dag_id,
    run_id,
    started_at,
    clock_timestamp() - started_at AS elapsed,
    coalesce(attempt, 0) AS attempt,
    dry_run,
    triggered_by
FROM batch.execution_log
WHERE batch_id = %(batch_id)s AND status = 'running'
ORDER BY started_at;

-- name: close_orphan
UPDATE batch.execution_log
SET
    status = 'failed',
    ended_at = clock_timestamp(),
    error_message = %(error_message)s,
    result = jsonb_build_object('codes', jsonb_build_array(%(code)s::text))
WHERE execution_id = %(execution_id)s AND status = 'running';

-- name: open_execution
-- The run starts again from its beginning, so its earlier row no longer waits to be closed.
WITH superseded AS (
    UPDATE batch.execution_log
    SET reopened_at = null
    WHERE
        dag_id = %(dag_id)s AND run_id = %(run_id)s AND batch_id = %(batch_id)s
        AND reopened_at IS NOT null
)

INSERT INTO batch.execution_log (
    execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, attempt,
    triggered_by, version, status, total_tenants
)
VALUES (
    %(execution_id)s,
    %(batch_id)s,
    %(dag_id)s,
    %(run_id)s,
    %(business_date)s,
    %(dry_run)s,
    %(parameters)s,
    %(execution_host)s,
    %(attempt)s,
    %(triggered_by)s,
    %(version)s,
    'running',
    %(total_tenants)s
);

-- name: has_worked
SELECT count(*) > 0 AS has_worked
FROM batch.execution_log AS log
WHERE
    log.dag_id = %(dag_id)s AND log.run_id = %(run_id)s AND log.batch_id = %(batch_id)s AND NOT log.dry_run
    AND (
        log.success_count > 0
        OR EXISTS (
            SELECT FROM batch.tenant_outcome AS outcome
            WHERE outcome.execution_id = log.execution_id AND outcome.status = 'success'
        )
    );

-- name: closed_earlier
-- The status with which an earlier attempt closed the run, if no interrupted shard has worked since.
SELECT log.status
FROM batch.execution_log AS log
WHERE
    log.execution_id = %(execution_id)s AND log.status <> 'running'
    AND NOT EXISTS (
        SELECT FROM batch.tenant_outcome AS outcome
        WHERE outcome.execution_id = log.execution_id AND outcome.recorded_at > log.ended_at
    );

-- name: mark_reopened
UPDATE batch.execution_log
SET reopened_at = clock_timestamp()
WHERE execution_id = %(execution_id)s AND status <> 'running' AND reopened_at IS null;

-- name: close_execution
-- The counts come from the outcome rows, so they are correct when the run is closed again (after an instance was cleared). A
-- total sums a numeric figure of the tenants' details, including the work of failed tenants before their failure, and what
-- earlier executions of the run have done for tenants that it no longer has. `results` lists the first failures, and
-- `resultsLeftOut` counts the rest; tenant_outcome has all rows. A tenant has succeeded if all its parts have.
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

former AS (
    SELECT DISTINCT ON (earlier.tenant_id, earlier.part) earlier.effects
    FROM batch.execution_log AS present
    INNER JOIN batch.execution_log AS log
        ON
            present.dag_id = log.dag_id AND present.run_id = log.run_id AND present.batch_id = log.batch_id
            AND present.execution_id <> log.execution_id
    INNER JOIN batch.tenant_outcome AS earlier ON log.execution_id = earlier.execution_id
    WHERE
        present.execution_id = %(execution_id)s
        AND NOT EXISTS (
            SELECT FROM batch.tenant_outcome AS kept
            WHERE
                kept.execution_id = present.execution_id AND kept.tenant_id = earlier.tenant_id
                AND kept.part = earlier.part
        )
    ORDER BY earlier.tenant_id ASC, earlier.part ASC, log.started_at DESC
),

totals AS (
    SELECT coalesce(jsonb_object_agg(name, total), '{}') AS by_name
    FROM (
        SELECT figure.key AS name, sum(figure.value::numeric) AS total
        FROM (
            SELECT details AS figures FROM batch.tenant_outcome
            WHERE execution_id = %(execution_id)s
            UNION ALL
            SELECT effects FROM former
        ) AS worked
        CROSS JOIN LATERAL jsonb_each(worked.figures) AS figure
        WHERE jsonb_typeof(figure.value) = 'number'
        GROUP BY figure.key
    ) AS figures
),

listed AS (
    SELECT
        jsonb_agg(
            jsonb_build_object('tenantId', tenant_id, 'status', status, 'error', left(error_message, %(longest_error)s))
            || CASE WHEN part = '' THEN '{}' ELSE jsonb_build_object('part', part) END
        ) AS failures,
        coalesce(max(total), 0) - count(*) AS left_out
    FROM (
        SELECT tenant_id, part, status, error_message, count(*) OVER () AS total
        FROM batch.tenant_outcome
        WHERE execution_id = %(execution_id)s AND status <> 'success'
        ORDER BY tenant_id, part
        LIMIT %(most_results)s
    ) AS failed_parts
)

UPDATE batch.execution_log AS log
SET
    status = CASE
        WHEN %(error)s::text IS null AND outcome.error_count = 0 AND %(problem)s::text IS null THEN 'completed'
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
                        '%%s %%s中 %%s 件が失敗',
                        log.total_tenants,
                        CASE WHEN log.batch_id = any(%(not_per_tenant)s) THEN '件' ELSE 'テナント' END,
                        outcome.error_count
                    )
        END,
        %(problem)s::text
    ),
    result = jsonb_build_object(
        'batchId', log.batch_id,
        'executedAt', to_jsonb(log.started_at),
        'totalTenants', log.total_tenants,
        'successCount', outcome.success_count,
        'errorCount', outcome.error_count,
        'results', coalesce(listed.failures, '[]'),
        'resultsLeftOut', listed.left_out,
        'totals', totals.by_name
    ) || %(further)s
FROM outcome, totals, listed
WHERE log.execution_id = %(execution_id)s
RETURNING
    log.batch_id, log.status, log.total_tenants, log.success_count, log.error_count,
    -- Messages that another sender has claimed; see include.skillreport.messaging.leases.
    coalesce(log.result -> 'totals' ->> 'leasedCount', '0')::bigint AS leased_messages;

-- name: deletions_to_repeat
SELECT tenant_id
FROM batch.deleted_tenant
WHERE is_to_repeat
ORDER BY tenant_id;
