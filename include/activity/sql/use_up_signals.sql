-- In the transaction that closes the day: a later try finds no signals and collects them anew, from the host as it is then.
DELETE FROM batch.usage_signal
WHERE execution_id = %(execution_id)s;
