-- name: recorded_run
-- Only a closed run's row has its error message. A cleared run still has the message of its earlier closing.
SELECT
    execution_id,
    business_date,
    total_tenants,
    CASE WHEN reopened_at IS null THEN error_message END AS error_message
FROM batch.execution_log
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND batch_id = %(batch_id)s
ORDER BY started_at DESC
LIMIT 1;

-- name: rows_of_run
-- The latest row of each batch in the run, and whether its work is done.
SELECT DISTINCT ON (batch_id)
    batch_id,
    execution_id,
    business_date,
    status = 'completed' AND reopened_at IS null AS is_done
FROM batch.execution_log
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s
ORDER BY batch_id ASC, started_at DESC;

-- name: recorded_failures
-- As failed_tenants of include/skillreport/core/execution/sql/outcomes.sql. A killed task's tenant is pending until close_run
-- ends.
SELECT
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, outcome.tenant_id) AS tenant_name,
    outcome.reason,
    outcome.error_codes
FROM (
    SELECT
        tenant_id,
        array_agg(DISTINCT coalesce(error_code, 'NO_RESULT')) AS error_codes,
        string_agg(
            concat_ws(
                ': ',
                nullif(part, ''),
                coalesce(
                    error_message,
                    'タスクが結果を残さずに止まりました。テナントのタスクのログを確認してください'
                )
            ),
            '、' ORDER BY part
        ) AS reason
    FROM batch.tenant_outcome
    WHERE execution_id = %(execution_id)s AND status <> 'success'
    GROUP BY tenant_id
) AS outcome
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
ORDER BY outcome.tenant_id;
