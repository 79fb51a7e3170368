-- The trigger gives each its number, and holds the counter's row until the transaction ends.
UPDATE batch.invoice
SET
    status = 'finalized',
    issued_on = %(issued_on)s,
    due_on = %(due_on)s,
    approved_by = %(approved_by)s
WHERE invoice_id = any(%(invoice_ids)s) AND status = 'draft'
RETURNING invoice_id, number;
