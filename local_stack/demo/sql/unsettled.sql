-- name: unsettled
SELECT
    tenant.tenant_code,
    plan.provider,
    problem.sentence
FROM batch.sync_plan AS plan
INNER JOIN batch.all_tenant AS tenant ON plan.tenant_id = tenant.tenant_id
CROSS JOIN LATERAL jsonb_array_elements_text(plan.problems) AS problem (sentence)
WHERE plan.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id, plan.provider, problem.sentence;
