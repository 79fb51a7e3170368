-- What an operator decides about messages that nothing happens to by itself any more. Requeued ones go out over their channel
-- again, so that a channel that is closed is opened with them.
WITH decided AS (
    UPDATE batch.outbox
    SET
        status = %(status)s,
        attempts = CASE WHEN %(status)s = 'pending' THEN 0 ELSE attempts END,
        due_at = CASE WHEN %(status)s = 'pending' THEN %(now)s ELSE due_at END,
        next_attempt_at = %(now)s,
        finished_at = CASE WHEN %(status)s <> 'pending' THEN %(now)s::timestamptz END,
        reported_by = null,
        error_code = CASE WHEN %(status)s <> 'sent' THEN error_code END,
        error_class = CASE WHEN %(status)s <> 'sent' THEN error_class END,
        error_detail = CASE WHEN %(status)s <> 'sent' THEN error_detail END,
        decided_by = %(execution_id)s
    -- Decided once: a run that is done again decides nothing anew about what has become of it since.
    WHERE
        message_id = any(%(message_ids)s) AND status IN ('ambiguous', 'dead', 'expired', 'retry')
        AND decided_by IS DISTINCT FROM %(execution_id)s
    RETURNING
        tenant_id,
        channel,
        message_id
),

opened AS (
    DELETE FROM batch.channel_circuit AS circuit
    USING decided
    WHERE
        %(status)s = 'pending'
        AND circuit.tenant_id = decided.tenant_id AND circuit.channel = decided.channel
)

SELECT
    tenant_id,
    message_id
FROM decided;
