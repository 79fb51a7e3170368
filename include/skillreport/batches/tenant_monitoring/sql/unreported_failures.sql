-- name: unreported_failures
-- Runs that were closed as failed and whose alert was never stored, because the worker was killed before. The alert's key
-- contains the batch and the attempt (failure_key in notifiers/failure_alert.py). A family's run contains several batches, and a
-- cleared run may fail again. Omitted are executions that the same run repeated, executions in the digest, and dry runs without a
-- known user.
SELECT
    log.execution_id, log.batch_id, log.dag_id, log.run_id, log.attempt, log.business_date, log.status,
    log.total_tenants,
    coalesce(log.success_count, 0) AS success_count,
    coalesce(log.error_count, 0) AS error_count,
    coalesce(extract(EPOCH FROM log.ended_at - log.started_at), 0)::numeric AS execution_seconds,
    log.error_message, log.dry_run, log.triggered_by,
    coalesce(log.result -> 'codes' ->> 0, '') AS error_code
FROM batch.execution_log AS log
WHERE
    log.status IN ('failed', 'partial')
    AND (NOT log.dry_run OR log.triggered_by IS NOT null)
    AND log.ended_at >= %(since)s AND log.ended_at < %(until)s
    AND log.attempt IS NOT null
    AND NOT EXISTS (
        SELECT FROM batch.operator_alert AS alert
        WHERE alert.alert_key = concat_ws(':', 'failure', log.dag_id, log.run_id, log.batch_id, log.attempt)
    )
    AND NOT EXISTS (
        SELECT FROM batch.orphan_notice AS notice
        WHERE notice.execution_id = log.execution_id AND notice.noticed_at >= log.ended_at
    )
    AND NOT EXISTS (
        SELECT FROM batch.execution_log AS again
        WHERE
            again.dag_id = log.dag_id AND again.run_id = log.run_id AND again.batch_id = log.batch_id
            AND again.started_at > log.started_at
    )
ORDER BY log.ended_at;

-- name: unclosed_executions
-- Rows that a cleared task reopened and that no close_run has closed since.
SELECT execution_id, batch_id, dag_id, run_id, reopened_at, dry_run, triggered_by
FROM batch.execution_log
WHERE reopened_at < %(until)s AND (NOT dry_run OR triggered_by IS NOT null)
ORDER BY reopened_at;
