SELECT count(*)
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s AND details ->> 'settlement' = %(settlement)s;
