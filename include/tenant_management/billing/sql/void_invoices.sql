-- Locked in the order of their ids, so that two recalculations never wait for each other.
WITH taken_back AS (
    SELECT invoice_id
    FROM batch.invoice
    WHERE invoice_id = any(%(invoice_ids)s) AND status <> 'void'
    ORDER BY invoice_id
    FOR UPDATE
)

UPDATE batch.invoice
SET status = 'void', void_reason = %(reason)s
FROM taken_back
WHERE invoice.invoice_id = taken_back.invoice_id;
