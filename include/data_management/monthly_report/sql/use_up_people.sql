DELETE FROM batch.report_person
WHERE execution_id = %(execution_id)s;
