-- What an operator decides about messages that nothing happens to by itself any more.
UPDATE batch.outbox
SET
    status = %(status)s,
    attempts = CASE WHEN %(status)s = 'pending' THEN 0 ELSE attempts END,
    next_attempt_at = %(now)s,
    finished_at = CASE WHEN %(status)s = 'pending' THEN null ELSE %(now)s::timestamptz END,
    reported_at = null,
    decided_by = %(decided_by)s
WHERE message_id = any(%(message_ids)s) AND status IN ('ambiguous', 'dead', 'expired', 'retry')
RETURNING message_id;
