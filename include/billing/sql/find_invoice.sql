-- By its number, or the live one of a tenant's month.
SELECT
    invoice.invoice_id,
    invoice.tenant_id,
    invoice.kind,
    invoice.period_start,
    invoice.status,
    invoice.number,
    invoice.issued_on,
    invoice.due_on,
    invoice.content,
    invoice.inputs,
    invoice.input_hash,
    invoice.credited,
    invoice.hold_reason,
    coalesce((
        SELECT upper(billing.billing_status) = 'PAID' FROM batch.tenant_billing AS billing
        WHERE billing.id = invoice.invoice_id
    ), false) AS is_paid
FROM batch.invoice
WHERE
    invoice.number = %(number)s
    OR (
        invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND invoice.kind = 'invoice'
        AND invoice.status <> 'void' AND NOT invoice.credited
    );
