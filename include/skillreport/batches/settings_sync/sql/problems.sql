-- name: take_problems
-- Runs across tenants, as batch_platform: the serious problems of the run's tenants, from its outcomes. `known` are the
-- problems of the last run whose digest was delivered. The run's problems count as reported from now on.
WITH found AS (
    SELECT
        outcome.tenant_id,
        outcome.details -> 'seriousProblems' AS problems,
        coalesce(reported.problems, '[]') AS known
    FROM batch.tenant_outcome AS outcome
    LEFT JOIN LATERAL (
        SELECT earlier.details -> 'toldProblems' AS problems
        FROM batch.execution_log AS log
        INNER JOIN batch.tenant_outcome AS earlier ON log.execution_id = earlier.execution_id
        WHERE
            log.batch_id = 'BATCH-018-05'
            AND earlier.tenant_id = outcome.tenant_id AND earlier.details ? 'toldProblems'
        ORDER BY log.ended_at DESC
        LIMIT 1
    ) AS reported ON true
    WHERE
        outcome.execution_id = %(execution_id)s AND outcome.status = 'success'
        AND outcome.details ? 'seriousProblems'
)

UPDATE batch.tenant_outcome AS outcome
SET details = outcome.details || jsonb_build_object('toldProblems', found.problems)
FROM found
LEFT JOIN batch.all_tenant AS tenant ON found.tenant_id = tenant.tenant_id
WHERE
    outcome.execution_id = %(execution_id)s AND outcome.tenant_id = found.tenant_id
    -- A fixed problem is removed, so that it is reported if it occurs again.
    AND (found.problems <> '[]' OR found.known <> '[]')
RETURNING
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name,
    found.problems,
    found.known;
