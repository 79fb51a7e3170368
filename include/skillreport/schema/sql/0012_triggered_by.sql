ALTER TABLE batch.execution_log ADD COLUMN triggered_by text;
COMMENT ON COLUMN batch.execution_log.triggered_by IS 'The Airflow user who triggered the run; null for a run of the schedule';
