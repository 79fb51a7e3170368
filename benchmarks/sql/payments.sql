-- name: know_payers
-- The payer of each tenant with an open invoice, as a person has confirmed it.
INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
SELECT tenant_id, listed.payer_key, '' AS payer_code, listed.payer_key AS payer_name, 'benchmark', 'benchmark'
FROM unnest(%(tenant_ids)s::text[], %(payer_keys)s::text[]) AS listed (tenant_id, payer_key);

-- name: open_invoices
SELECT tenant_id, open_amount FROM batch.invoice
WHERE status = 'finalized' AND currency = 'JPY' AND open_amount > 0
ORDER BY tenant_id;

-- name: recorded
-- The payments, and what is still open.
SELECT
    (SELECT count(*) FROM batch.payment) AS payments,
    (SELECT coalesce(sum(open_amount), 0) FROM batch.invoice) AS open_amount;
