-- The trigger gives the number, and holds the counter's row until the transaction ends.
UPDATE batch.invoice
SET
    status = 'finalized',
    issued_on = %(issued_on)s,
    due_on = %(due_on)s,
    approved_by = %(approved_by)s
WHERE invoice_id = %(invoice_id)s AND status = 'draft'
RETURNING invoice_id, number;
