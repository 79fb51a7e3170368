-- An incident is judged by what was before: of two runs at once the second one starts from where the first one ended.
SELECT known.tenant_id
FROM batch.monitored_tenant AS known
INNER JOIN batch.monitoring_signal AS signal ON known.tenant_id = signal.tenant_id
WHERE signal.execution_id = %(execution_id)s
ORDER BY known.tenant_id
FOR UPDATE OF known;
