-- The draft of a tenant's month, where it comes to something.
SELECT
    invoice_id,
    content,
    number,
    issued_on,
    due_on
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND status = 'draft'
    AND total <> 0;
