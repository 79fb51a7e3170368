UPDATE batch.invoice
SET status = 'void', void_reason = %(reason)s
WHERE invoice_id = any(%(invoice_ids)s) AND status <> 'void'
RETURNING invoice_id, number;
