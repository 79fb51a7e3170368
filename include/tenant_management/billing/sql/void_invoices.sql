-- Locked in the order of their ids, so that two recalculations never wait for each other, and the application's rows with them:
-- an invoice that it calls paid at this moment is not taken back.
WITH taken_back AS (
    SELECT invoice.invoice_id
    FROM batch.invoice
    INNER JOIN batch.tenant_billing AS billing ON invoice.invoice_id = billing.id
    WHERE
        invoice.invoice_id = any(%(invoice_ids)s) AND invoice.status <> 'void' AND NOT invoice.credited
        AND upper(coalesce(billing.billing_status, '')) <> 'PAID'
    ORDER BY invoice.invoice_id
    FOR UPDATE
)

UPDATE batch.invoice
SET status = 'void', void_reason = %(reason)s, voided_by = %(voided_by)s
FROM taken_back
WHERE invoice.invoice_id = taken_back.invoice_id
RETURNING invoice.invoice_id;
