-- name: untold_problems
-- Acts as batch_platform. The serious problems of the run's tenants, from its outcomes. `known` are the problems of the last run
-- whose digest was delivered. A fixed problem is listed, so that it is reported if it occurs again.
SELECT
    outcome.tenant_id,
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name,
    outcome.details -> 'seriousProblems' AS problems,
    coalesce(reported.problems, '[]') AS known
FROM batch.tenant_outcome AS outcome
LEFT JOIN LATERAL (
    SELECT earlier.told_problems AS problems
    FROM batch.tenant_outcome AS earlier
    INNER JOIN batch.execution_log AS log ON earlier.execution_id = log.execution_id
    WHERE
        log.batch_id = 'BATCH-018-05'
        AND earlier.tenant_id = outcome.tenant_id AND earlier.told_problems IS NOT null
    ORDER BY log.ended_at DESC
    LIMIT 1
) AS reported ON true
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE
    outcome.execution_id = %(execution_id)s AND outcome.status = 'success'
    AND outcome.details ? 'seriousProblems'
    AND (outcome.details -> 'seriousProblems' <> '[]' OR coalesce(reported.problems, '[]') <> '[]');

-- name: count_as_told
-- Takes ids, because with fresh outcomes the planner expects one row and would compare each outcome with all others.
UPDATE batch.tenant_outcome
SET told_problems = details -> 'seriousProblems'
WHERE execution_id = %(execution_id)s AND tenant_id = any(%(tenant_ids)s::text[]);
