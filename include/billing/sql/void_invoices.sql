-- Locked in the order of their ids, so that two recalculations never wait for each other, and the application's rows with them:
-- an invoice that it calls paid at this moment is not taken back. The application need not know of a draft.
WITH live AS (
    SELECT invoice.invoice_id
    FROM batch.invoice
    WHERE invoice.invoice_id = any(%(invoice_ids)s) AND invoice.status <> 'void' AND NOT invoice.credited
    ORDER BY invoice.invoice_id
    FOR UPDATE
),

known AS (
    SELECT
        billing.id,
        billing.billing_status
    FROM live
    INNER JOIN batch.tenant_billing AS billing ON live.invoice_id = billing.id
    ORDER BY billing.id
    FOR UPDATE OF billing
)

UPDATE batch.invoice
SET status = 'void', void_reason = %(reason)s, voided_by = %(voided_by)s
FROM live
LEFT JOIN known ON live.invoice_id = known.id
WHERE invoice.invoice_id = live.invoice_id AND upper(coalesce(known.billing_status, '')) <> 'PAID'
RETURNING invoice.invoice_id;
