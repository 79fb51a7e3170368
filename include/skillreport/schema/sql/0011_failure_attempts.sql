-- A failure alert is about one batch in one attempt of a run: a family's run holds several batches, and a cleared run fails anew.
ALTER TABLE batch.execution_log
ADD COLUMN attempt integer,
ADD COLUMN reopened_at timestamptz;
CREATE INDEX execution_log_reopened ON batch.execution_log (reopened_at) WHERE reopened_at IS NOT null;
COMMENT ON COLUMN batch.execution_log.attempt IS
'How often the Airflow run had been cleared when the row was opened or last closed; null: the row is older than this column';
COMMENT ON COLUMN batch.execution_log.reopened_at IS
'When a cleared task began to work again on a closed run; null once close_run has closed it anew';
