-- In the transaction that keeps the day: a later try finds no signals and collects them anew, from the host as it is then.
DELETE FROM batch.statistics_signal
WHERE execution_id = %(execution_id)s;
