-- In the transaction that keeps the reports: a later try finds no signals and reads the host anew.
DELETE FROM batch.report_signal
WHERE execution_id = %(execution_id)s;
