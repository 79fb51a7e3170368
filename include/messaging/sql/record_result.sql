-- Only whoever holds the lease says how the send ended: a row that was taken for crashed meanwhile has been parked.
UPDATE batch.outbox
SET
    status = %(status)s,
    attempts = %(attempts)s,
    next_attempt_at = %(next_attempt_at)s,
    lease_owner = null,
    lease_until = null,
    provider_message_id = %(provider_message_id)s,
    error_code = %(error_code)s,
    error_class = %(error_class)s,
    error_detail = %(error_detail)s,
    finished_at = CASE WHEN %(status)s IN ('sent', 'dead') THEN %(now)s::timestamptz END
WHERE
    message_id = %(message_id)s
    AND (
        (status = 'sending' AND lease_owner = %(owner)s)
        -- It was taken for lost, and has arrived all the same.
        OR (%(status)s = 'sent' AND status IN ('retry', 'ambiguous') AND error_code = 'sender_lost')
    );
