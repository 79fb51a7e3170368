-- name: issued_invoices
SELECT
    tenant_id,
    currency,
    total,
    input_hash
FROM batch.invoice
WHERE status = 'finalized'
ORDER BY tenant_id;
