-- Numbered invoices and credits of a month whose files are not both recorded yet; a void one is not sent any more.
SELECT
    invoice.invoice_id,
    invoice.content,
    invoice.number,
    invoice.issued_on,
    invoice.due_on
FROM batch.invoice
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND invoice.number IS NOT null
    AND invoice.status <> 'void'
    AND (
        SELECT count(*) FROM batch.invoice_document AS document
        WHERE document.invoice_id = invoice.invoice_id
    ) < 2
ORDER BY invoice.number;
