-- name: message_content
SELECT subject, body, destination
FROM batch.outbox
WHERE message_id = %(message_id)s;

-- name: suppressed_address
SELECT tenant_id, address
FROM batch.suppressed_address
WHERE encode(sha256(convert_to(tenant_id || chr(31) || address, 'UTF8')), 'hex') = %(suppression_id)s;
