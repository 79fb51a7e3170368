-- Of these the ledger is right whatever the store holds, or soon will be: their own run says what becomes of them.
SELECT known.backup_id
FROM batch.backup AS known
LEFT JOIN batch.execution_log AS log ON known.execution_id = log.execution_id
WHERE known.status IN ('verified', 'deleting') OR log.status = 'running' OR known.execution_id = %(execution_id)s;
