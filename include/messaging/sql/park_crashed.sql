-- Messages whose sender is gone: they may have arrived. E-mail carries the same Message-ID again and may be repeated.
UPDATE batch.outbox
SET
    status = CASE WHEN channel = 'email' AND attempts + 1 < %(most_letters)s THEN 'retry' ELSE 'ambiguous' END,
    attempts = attempts + 1,
    next_attempt_at = %(now)s,
    lease_owner = null,
    lease_until = null,
    error_code = 'sender_lost',
    error_class = 'network',
    error_detail = '送信中にワーカーが失われ、届いたか分かりません'
WHERE status = 'sending' AND lease_until < %(now)s
RETURNING
    message_id,
    status;
