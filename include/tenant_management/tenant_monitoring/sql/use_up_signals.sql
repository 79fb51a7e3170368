-- In the transaction that keeps the states: a later try finds no signals and collects them anew, from the host as it is then.
DELETE FROM batch.monitoring_signal
WHERE execution_id = %(execution_id)s;
