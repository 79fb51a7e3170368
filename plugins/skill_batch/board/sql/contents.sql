-- name: message_content
SELECT subject, body, destination
FROM batch.outbox
WHERE message_id = %(message_id)s;

-- name: message_subjects
SELECT message_id, subject
FROM batch.outbox
WHERE message_id = any(%(message_ids)s);

-- name: messages_to
-- The newest messages to exactly this address, ignoring case. Addresses have no index, because it would copy them.
SELECT
    message.message_id, message.tenant_id, message.channel, message.status, message.template_key, message.subject,
    message.created_at, message.due_at, message.finished_at, message.error_code, message.error_detail
FROM batch.outbox AS message
WHERE message.channel = 'email' AND lower(message.destination) = lower(%(address)s)
ORDER BY message.created_at DESC, message.message_id ASC
LIMIT %(most)s;

-- name: suppressed_address
SELECT tenant_id, address
FROM batch.suppressed_address
WHERE encode(sha256(convert_to(tenant_id || chr(31) || address, 'UTF8')), 'hex') = %(suppression_id)s;
