-- Runs across tenants, as batch_platform: what a run has changed in these tenants, how much of it still stands, and of a run id
-- of Airflow's the executions that it stands for.
SELECT
    count(*) AS changes,
    count(*) FILTER (WHERE undone_by IS null) AS not_undone,
    array(
        SELECT log.execution_id FROM batch.execution_log AS log
        WHERE log.batch_id = 'BATCH-018-05' AND log.run_id = %(execution_id)s
        ORDER BY log.started_at
    ) AS executions
FROM batch.setting_change
WHERE execution_id = %(execution_id)s AND tenant_id = any(%(tenant_ids)s::text[]);
