-- name: board_night
-- The newest run of the batch has failed for a fifth of the tenants, and a message of each tenant is dead.
UPDATE batch.execution_log
SET run_id = 'failed', dag_id = %(dag_id)s, status = 'partial', error_count = total_tenants / 5
WHERE
    execution_id = (
        SELECT execution_id FROM batch.execution_log
        WHERE batch_id = %(batch_id)s
        ORDER BY started_at DESC
        LIMIT 1
    );

UPDATE batch.tenant_outcome
SET status = 'failed', error_code = 'UNEXPECTED', error_message = 'A sentence about the failure'
WHERE
    mod(right(tenant_id, 6)::integer, 5) = 0
    AND execution_id IN (
        SELECT execution_id FROM batch.execution_log
        WHERE run_id = 'failed'
    );

UPDATE batch.outbox
SET
    status = 'dead', finished_at = due_at, error_code = 'channel_not_found', error_class = 'service',
    error_detail = 'The channel does not exist'
WHERE dedupe_key = 'due_1';
