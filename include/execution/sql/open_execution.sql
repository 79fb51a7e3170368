-- The run is done again from its beginning: nobody closes its earlier row any more.
WITH superseded AS (
    UPDATE batch.execution_log
    SET reopened_at = null
    WHERE
        dag_id = %(dag_id)s AND run_id = %(run_id)s AND batch_id = %(batch_id)s
        AND reopened_at IS NOT null
)

INSERT INTO batch.execution_log (
    execution_id,
    batch_id,
    dag_id,
    run_id,
    business_date,
    dry_run,
    parameters,
    execution_host,
    attempt,
    status,
    total_tenants
)
VALUES (
    %(execution_id)s,
    %(batch_id)s,
    %(dag_id)s,
    %(run_id)s,
    %(business_date)s,
    %(dry_run)s,
    %(parameters)s,
    %(execution_host)s,
    %(attempt)s,
    'running',
    %(total_tenants)s
);
