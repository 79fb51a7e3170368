-- told_problems: what the digest of an earlier try of the run has told (an instance was cleared); this try's outcome keeps it.
SELECT
    tenant.tenant_id,
    tenant.subscription_plan,
    tenant.status,
    tenant.max_users,
    tenant.max_storage_gb,
    known.plan AS known_plan,
    outcome.details -> 'toldProblems' AS told_problems
FROM batch.tenant
LEFT JOIN batch.setting_plan AS known ON tenant.tenant_id = known.tenant_id
LEFT JOIN batch.tenant_outcome AS outcome
    ON tenant.tenant_id = outcome.tenant_id AND outcome.execution_id = %(execution_id)s;
