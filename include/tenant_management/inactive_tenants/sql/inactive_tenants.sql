-- Runs across tenants, as batch_platform: the tenants to which the run gave a stage, from its outcomes (a dry run has them too).
SELECT
    outcome.details ->> 'stage' AS stage,
    (outcome.details ->> 'inactiveDays')::integer AS days,
    (outcome.details ->> 'lastActivityOn')::date AS last_activity_on,
    outcome.details -> 'newStage' = '1' AS is_new,
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name
FROM batch.tenant_outcome AS outcome
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE
    outcome.execution_id = %(execution_id)s AND outcome.status = 'success'
    AND outcome.details ->> 'stage' <> 'none';
