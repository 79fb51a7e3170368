-- name: find_sent
-- As batch_platform: only the id identifies the tenant of the message.
SELECT tenant_id, destination, status
FROM batch.outbox
WHERE message_id = %(message_id)s AND channel = 'email' AND (attempts > 0 OR status = 'sending');

-- name: record_failure
-- The message was accepted, or may have been, and could not be delivered. It is reported like every final failure.
UPDATE batch.outbox
SET
    status = 'dead',
    finished_at = %(now)s,
    error_code = %(error_code)s,
    error_class = %(error_class)s,
    error_detail = %(error_detail)s,
    deferred_for = null,
    reported_by = null
WHERE message_id = %(message_id)s AND channel = 'email' AND status IN ('sent', 'retry', 'ambiguous');

-- name: record_passed_on
-- Records the first failure of a recipient behind the address. The message stays sent.
UPDATE batch.outbox
SET error_code = %(error_code)s, error_class = %(error_class)s, error_detail = %(error_detail)s, reported_by = null
WHERE message_id = %(message_id)s AND channel = 'email' AND status = 'sent' AND error_code IS null;
