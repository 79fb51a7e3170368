-- Over the run's outcomes: of how many tenants each check was judged, how many breach it, and how many of these have an incident
-- open.
WITH judged AS (
    SELECT
        outcome.tenant_id,
        judged_check.check_name,
        outcome.details -> 'breaching' ? judged_check.check_name AS is_breach,
        outcome.details -> 'open' ? judged_check.check_name AS is_open
    FROM batch.tenant_outcome AS outcome
    CROSS JOIN LATERAL jsonb_array_elements_text(outcome.details -> 'judged') AS judged_check (check_name)
    WHERE
        outcome.execution_id = %(execution_id)s AND outcome.status = 'success'
        AND judged_check.check_name = any(%(checks)s::text[])
),

placed AS (
    SELECT
        judged.*,
        coalesce(tenant.tenant_code, judged.tenant_id) AS tenant_code,
        row_number() OVER (PARTITION BY judged.check_name, judged.is_breach ORDER BY judged.tenant_id) AS place
    FROM judged
    LEFT JOIN batch.all_tenant AS tenant USING (tenant_id)
)

SELECT
    check_name,
    count(*) AS judged,
    count(*) FILTER (WHERE is_breach) AS breaching,
    count(*) FILTER (WHERE is_breach AND is_open) AS open,
    coalesce(array_agg(tenant_code ORDER BY place) FILTER (WHERE is_breach AND place <= %(examples)s), '{}') AS examples
FROM placed
GROUP BY check_name
ORDER BY check_name;
