-- Views of numbered billing documents, for batch_platform. They read tables of the batches with the reader's row-level security.

-- The search (電子帳簿保存法) by date, amount and counterparty in combination.
CREATE OR REPLACE VIEW batch.document_search WITH (security_invoker) AS
SELECT
    invoice.number,
    invoice.kind,
    invoice.status,
    invoice.credited,
    invoice.issued_on AS transaction_date,
    invoice.period_start,
    invoice.period_end,
    invoice.total AS amount,
    invoice.currency,
    invoice.yen_total,
    invoice.counterparty,
    invoice.content ->> 'tenant_code' AS tenant_code,
    original.number AS original_number,
    invoice.content #>> '{replaces,number}' AS replaced_number,
    invoice.content ->> 'order_number' AS order_number,
    invoice.voided_at,
    invoice.void_reason,
    1 AS revision,
    null::date AS corrected_on,
    null AS correction,
    document.format,
    document.location,
    document.sha256,
    document.bytes
FROM batch.invoice
LEFT JOIN batch.invoice AS original ON invoice.credits_invoice_id = original.invoice_id
LEFT JOIN batch.invoice_document AS document ON invoice.invoice_id = document.invoice_id AND document.revision = 1
WHERE invoice.number IS NOT null
UNION ALL
SELECT
    invoice.number,
    invoice.kind,
    invoice.status,
    invoice.credited,
    invoice.issued_on AS transaction_date,
    invoice.period_start,
    invoice.period_end,
    invoice.total AS amount,
    invoice.currency,
    invoice.yen_total,
    corrected.counterparty,
    corrected.content ->> 'tenant_code' AS tenant_code,
    null AS original_number,
    corrected.content #>> '{replaces,number}' AS replaced_number,
    corrected.content ->> 'order_number' AS order_number,
    invoice.voided_at,
    invoice.void_reason,
    corrected.revision,
    corrected.corrected_on,
    corrected.reason AS correction,
    document.format,
    document.location,
    document.sha256,
    document.bytes
FROM batch.invoice_revision AS corrected
INNER JOIN batch.invoice ON corrected.invoice_id = invoice.invoice_id
LEFT JOIN batch.invoice_document AS document
    ON corrected.invoice_id = document.invoice_id AND corrected.revision = document.revision;
GRANT SELECT ON batch.document_search TO batch_platform;
COMMENT ON VIEW batch.document_search IS
'One row per numbered document, revision (訂正) and file, or one without a file. A void document keeps its amount. '
'The revisions of an invoice have the same amount, which counts once.';

-- The entries of the books (booked_on, Asia/Tokyo): documents, voids, adjustments of receivables, payments and refunds. If a
-- document's (or payment's) month was handed over before its void (or reversal), a reversal is booked on the day of the void.
-- Otherwise it counts as void. accrued_on is the entry's own day; booked_on is later if that month was handed over.
CREATE OR REPLACE VIEW batch.accounting_entry WITH (security_invoker) AS
SELECT
    booked.invoice_id,
    booked.accrued_on,
    booked.booked_on,
    CASE
        WHEN
            booked.status = 'void' AND coalesce(
                booked.voided_at <= (
                    SELECT closed.handed_over_at
                    FROM batch.accounting_month AS closed
                    WHERE closed.month >= date_trunc('month', booked.booked_on::timestamp)::date
                    ORDER BY closed.month
                    LIMIT 1
                ),
                true
            )
            THEN 'void'
        ELSE 'document'
    END AS booking,
    null::text AS adjustment_id,
    null::text AS payment_id,
    booked.execution_id,
    booked.voided_by
FROM batch.invoice AS booked
WHERE booked.number IS NOT null
UNION ALL
SELECT
    voided.invoice_id,
    (voided.voided_at AT TIME ZONE 'Asia/Tokyo')::date AS accrued_on,
    greatest(
        (voided.voided_at AT TIME ZONE 'Asia/Tokyo')::date,
        (
            SELECT (max(closed.month) + interval '1 month')::date
            FROM batch.accounting_month AS closed
            WHERE closed.handed_over_at < voided.voided_at
        )
    ) AS booked_on,
    'reversal' AS booking,
    null::text AS adjustment_id,
    null::text AS payment_id,
    voided.execution_id,
    voided.voided_by
FROM batch.invoice AS voided
WHERE
    voided.number IS NOT null
    AND voided.voided_at IS NOT null
    -- A hand-over closes its month and all earlier open months.
    AND voided.voided_at > (
        SELECT closed.handed_over_at
        FROM batch.accounting_month AS closed
        WHERE closed.month >= date_trunc('month', voided.booked_on::timestamp)::date
        ORDER BY closed.month
        LIMIT 1
    )
UNION ALL
SELECT
    adjusted.invoice_id,
    adjusted.accrued_on,
    adjusted.booked_on,
    'adjustment' AS booking,
    adjusted.adjustment_id,
    null::text AS payment_id,
    adjusted.execution_id,
    null::text AS voided_by
FROM batch.adjustment AS adjusted
UNION ALL
SELECT
    paid.invoice_id,
    paid.paid_on AS accrued_on,
    paid.booked_on,
    CASE WHEN paid.reversed_at IS NOT null AND paid.reversal_booked_on IS null THEN 'void' ELSE 'payment' END AS booking,
    null::text AS adjustment_id,
    paid.payment_id,
    paid.execution_id,
    paid.reversal_execution_id AS voided_by
FROM batch.payment AS paid
UNION ALL
SELECT
    reversed.invoice_id,
    (reversed.reversed_at AT TIME ZONE 'Asia/Tokyo')::date AS accrued_on,
    reversed.reversal_booked_on AS booked_on,
    'reversal' AS booking,
    null::text AS adjustment_id,
    reversed.payment_id,
    reversed.execution_id,
    reversed.reversal_execution_id AS voided_by
FROM batch.payment AS reversed
WHERE reversed.reversal_booked_on IS NOT null;
GRANT SELECT ON batch.accounting_entry TO batch_platform;

-- Invoices with an open amount after credit notes, payments and adjustments. A negative amount is owed to the customer. If the
-- application itself marks an invoice as PAID, the customer owes nothing.
CREATE OR REPLACE VIEW batch.receivable WITH (security_invoker) AS
SELECT
    invoice.invoice_id,
    invoice.tenant_id,
    invoice.content ->> 'tenant_code' AS tenant_code,
    invoice.counterparty,
    invoice.number,
    invoice.period_start,
    invoice.issued_on,
    invoice.due_on,
    invoice.currency,
    invoice.total,
    invoice.credited_total,
    invoice.paid_total,
    invoice.open_amount
FROM batch.invoice
WHERE
    invoice.kind = 'invoice' AND invoice.number IS NOT null AND invoice.status = 'finalized'
    AND invoice.open_amount <> 0
    AND (
        invoice.open_amount < 0 OR invoice.marked_paid OR NOT EXISTS (
            SELECT FROM batch.all_paid_billing AS paid
            WHERE paid.id = invoice.invoice_id
        )
    );
GRANT SELECT ON batch.receivable TO batch_platform;
COMMENT ON VIEW batch.receivable IS
'One row per numbered invoice with an open amount, overdue or not; due_on is an Asia/Tokyo day.';
