-- In the transaction that records the files: until then the next try of a killed one has its people, afterwards it reads anew.
DELETE FROM batch.report_signal
WHERE execution_id = %(execution_id)s;
