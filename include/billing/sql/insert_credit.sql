INSERT INTO batch.invoice (
    invoice_id,
    tenant_id,
    kind,
    period_start,
    period_end,
    currency,
    total,
    content,
    inputs,
    input_hash,
    credits_invoice_id,
    credit_reason,
    execution_id
)
SELECT
    gen_random_uuid()::text AS invoice_id,
    tenant_id,
    'credit' AS kind,
    period_start,
    period_end,
    currency,
    -total AS total,
    %(content)s,
    inputs,
    input_hash,
    invoice_id AS credits_invoice_id,
    %(reason)s AS credit_reason,
    %(execution_id)s
FROM batch.invoice
WHERE invoice_id = %(invoice_id)s
RETURNING invoice_id;
