-- What hangs on an old run goes before it: the cascade would delete a row per tenant in one transaction.
SELECT
    outcome.execution_id,
    outcome.tenant_id,
    outcome.part
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.execution_log AS log ON outcome.execution_id = log.execution_id
WHERE log.started_at < %(before)s AND log.status <> 'running';
