-- name: last_closed_month
-- The last closed month, or null. All earlier months are closed, too.
SELECT max(month) FROM batch.accounting_month;

-- name: touched_months
-- Acts as batch_platform. The months of a run's documents, payments and adjustments, and the months in which the run reverses
-- entries. Recent runs that were killed or failed after a commit are included, because their files are missing.
WITH run AS (
    SELECT %(execution_id)s::text AS execution_id
    UNION ALL
    SELECT execution_id FROM batch.execution_log
    WHERE status IN ('running', 'failed') AND NOT dry_run AND started_at >= now() - %(unfinished_for)s
)

SELECT DISTINCT date_trunc('month', booked_on::timestamp)::date AS month
FROM batch.accounting_entry
WHERE
    (execution_id IN (SELECT run.execution_id FROM run) OR voided_by IN (SELECT run.execution_id FROM run))
    AND (%(with_receipts)s OR payment_id IS null)
ORDER BY month;

-- name: book_entries
-- Acts as batch_platform. The entries of some days, of all invoices or of these and their credit notes. Ordering by length first
-- sorts numbers above 999 numerically.
SELECT
    coalesce(invoice.credits_invoice_id, invoice.invoice_id) AS invoice_id,
    entry.booking,
    entry.accrued_on,
    entry.booked_on,
    invoice.status,
    invoice.content,
    invoice.number,
    invoice.issued_on,
    invoice.due_on,
    coalesce(profile.partner_code, invoice.content ->> 'tenant_code') AS partner_code,
    coalesce(
        nullif(invoice.inputs -> 'exchange_rate', 'null'),
        (
            SELECT jsonb_build_object('yen_per_unit', rate.yen_per_unit::text, 'rate_date', rate.rate_date)
            FROM batch.exchange_rate AS rate
            WHERE
                rate.currency = invoice.currency
                AND date_trunc('month', rate.rate_date::timestamp) = date_trunc('month', service.accrued_on::timestamp)
            ORDER BY rate.rate_date DESC
            LIMIT 1
        )
    ) AS exchange_rate,
    service.accrued_on AS service_day,
    -- The yen of a credit note depend on its invoice and on the earlier credit notes.
    CASE WHEN invoice.currency <> 'JPY' THEN original.content END AS original_content,
    CASE
        WHEN invoice.currency <> 'JPY' AND invoice.kind = 'credit' THEN (
            SELECT coalesce(jsonb_agg(earlier.content ORDER BY length(earlier.number), earlier.number), '[]')
            FROM batch.invoice AS earlier
            WHERE
                earlier.credits_invoice_id = invoice.credits_invoice_id
                AND earlier.kind = 'credit'
                AND (length(earlier.number), earlier.number) < (length(invoice.number), invoice.number)
        )
    END AS earlier_credits,
    adjustment.content AS adjustment,
    entry.payment_id,
    CASE payment.kind WHEN 'refund' THEN payment.amount ELSE -payment.amount END AS paid_amount,
    CASE payment.kind WHEN 'refund' THEN payment.yen ELSE -payment.yen END AS paid_yen,
    payment.method,
    payment.reference
FROM batch.accounting_entry AS entry
INNER JOIN batch.invoice ON entry.invoice_id = invoice.invoice_id
LEFT JOIN batch.invoice AS original ON invoice.credits_invoice_id = original.invoice_id
LEFT JOIN batch.adjustment ON entry.adjustment_id = adjustment.adjustment_id
LEFT JOIN batch.payment ON entry.payment_id = payment.payment_id
-- A credit note uses the rate of its invoice.
CROSS JOIN LATERAL (SELECT coalesce(original.accrued_on, invoice.accrued_on) AS accrued_on) AS service
LEFT JOIN batch.billing_profile AS profile ON invoice.tenant_id = profile.tenant_id
WHERE
    entry.booked_on BETWEEN %(first_day)s AND %(last_day)s
    AND (%(with_receipts)s OR entry.payment_id IS null)
    AND (
        %(invoice_ids)s::text[] IS null
        OR coalesce(invoice.credits_invoice_id, invoice.invoice_id) = any(%(invoice_ids)s)
    )
ORDER BY
    entry.payment_id IS NOT null ASC, entry.booking = 'adjustment' ASC, entry.booking = 'reversal' ASC, invoice.kind DESC,
    invoice.period_start ASC, length(invoice.number) ASC, invoice.number ASC, adjustment.entered_at ASC,
    adjustment.adjustment_id ASC, payment.entered_at ASC, payment.payment_id ASC;

-- name: earlier_open_months
-- Acts as batch_platform. The earlier open months with entries.
SELECT DISTINCT date_trunc('month', booked_on::timestamp)::date AS month
FROM batch.accounting_entry
WHERE
    booked_on >= %(first_open_day)s AND booked_on < %(month)s
    AND (%(with_receipts)s OR payment_id IS null)
ORDER BY month;

-- name: runs_of_month
-- Acts as batch_platform. The runs that billed a month, newest first, without dry runs. is_working: it is running, or a cleared
-- task works on it again. covers_all: it was for all tenants, and each has an outcome.
SELECT
    log.dag_id,
    log.run_id,
    log.status = 'running' OR log.reopened_at IS NOT null AS is_working,
    log.status <> 'running'
    AND coalesce(log.parameters -> 'tenants', '[]') IN ('[]', 'null')
    AND (log.total_tenants > 0 OR log.status = 'completed')
    AND NOT EXISTS (
        SELECT FROM batch.tenant_outcome AS outcome
        WHERE outcome.execution_id = log.execution_id AND outcome.status = 'pending'
    ) AS covers_all
FROM batch.execution_log AS log
WHERE
    log.batch_id = %(batch_id)s AND NOT log.dry_run
    AND date_trunc('month', log.business_date::timestamp)::date = %(billed_month)s
ORDER BY log.started_at DESC;

-- name: unsettled_tenants
-- Acts as batch_platform. The tenants whose last outcome of the month is a failure, without a final invoice and without a held
-- draft. A void or a full credit also settles the tenant. Attempts that did not reach a tenant do not count.
SELECT coalesce(tenant.tenant_code, last.tenant_id) AS tenant_code, coalesce(last.error_message, '') AS reason
FROM (
    SELECT DISTINCT ON (outcome.tenant_id) outcome.tenant_id, outcome.status, outcome.error_message
    FROM batch.execution_log AS log
    INNER JOIN batch.tenant_outcome AS outcome ON log.execution_id = outcome.execution_id
    WHERE
        log.batch_id = %(batch_id)s AND NOT log.dry_run AND outcome.status <> 'pending'
        AND date_trunc('month', log.business_date::timestamp)::date = %(billed_month)s
    ORDER BY outcome.tenant_id ASC, log.started_at DESC
) AS last
LEFT JOIN batch.all_tenant AS tenant ON last.tenant_id = tenant.tenant_id
WHERE
    last.status = 'failed'
    AND NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE
            invoice.tenant_id = last.tenant_id AND invoice.period_start = %(billed_month)s AND invoice.kind = 'invoice'
            AND (
                invoice.status = 'finalized'
                OR invoice.number IS NOT null
                OR (invoice.status = 'draft' AND invoice.hold_reason IS NOT null)
            )
    )
ORDER BY tenant_code;

-- name: held_tenants
-- Acts as batch_platform. The tenants whose invoice of the month waits for an approval.
SELECT invoice.content ->> 'tenant_code' AS tenant_code
FROM batch.invoice
WHERE
    invoice.period_start = %(billed_month)s AND invoice.kind = 'invoice' AND invoice.status = 'draft'
    AND invoice.hold_reason IS NOT null
ORDER BY tenant_code;

-- name: find_hand_over
SELECT month, handed_over_at, handed_over_by, execution_id, files, changes
FROM batch.accounting_month
WHERE month = %(month)s;

-- name: closed_with
-- The earlier months that were closed together with a month.
SELECT month, handed_over_at, handed_over_by, execution_id, files, changes
FROM batch.accounting_month
WHERE execution_id = %(execution_id)s AND month < %(month)s
ORDER BY month;

-- name: record_hand_over
INSERT INTO batch.accounting_month (month, handed_over_by, execution_id, files, changes)
VALUES (%(month)s, %(handed_over_by)s, %(execution_id)s, %(files)s, %(changes)s)
RETURNING month, handed_over_at, handed_over_by, execution_id, files, changes;

-- name: find_provisional
SELECT sha256, bytes FROM batch.provisional_file
WHERE key = %(key)s;

-- name: forget_provisional
DELETE FROM batch.provisional_file
WHERE month <= %(month)s;

-- name: record_provisional
INSERT INTO batch.provisional_file AS known (key, month, sha256, bytes)
VALUES (%(key)s, %(month)s, %(sha256)s, %(bytes)s)
ON CONFLICT (key) DO UPDATE SET
    sha256 = excluded.sha256,
    bytes = excluded.bytes,
    written_at = excluded.written_at
WHERE known.sha256 <> excluded.sha256;

-- name: document_index
-- Acts as batch_platform. A billing month's numbered documents and their revisions, void ones with their amounts.
SELECT
    invoice.number, invoice.kind, invoice.status, invoice.credited, invoice.issued_on, invoice.period_start,
    invoice.period_end, invoice.total, invoice.currency, invoice.yen_total,
    document.counterparty,
    invoice.content ->> 'tenant_code' AS tenant_code,
    original.number AS original_number,
    invoice.content #>> '{replaces,number}' AS replaced_number,
    (invoice.voided_at AT TIME ZONE 'Asia/Tokyo')::date AS voided_on,
    invoice.void_reason,
    coalesce(pdf.sha256, '') AS pdf_sha256,
    coalesce(json.sha256, '') AS json_sha256,
    document.revision,
    document.corrected_on,
    document.correction,
    coalesce(invoice.content ->> 'order_number', '') AS order_number,
    exists(
        SELECT FROM batch.invoice_revision AS later
        WHERE later.invoice_id = invoice.invoice_id AND later.revision > document.revision
    ) AS is_corrected
FROM batch.invoice
CROSS JOIN
    LATERAL (
        SELECT 1 AS revision, invoice.counterparty, null::date AS corrected_on, null AS correction
        UNION ALL
        SELECT corrected.revision, corrected.counterparty, corrected.corrected_on, corrected.reason AS correction
        FROM batch.invoice_revision AS corrected
        WHERE corrected.invoice_id = invoice.invoice_id
    ) AS document
LEFT JOIN batch.invoice AS original ON invoice.credits_invoice_id = original.invoice_id
LEFT JOIN batch.invoice_document AS pdf
    ON invoice.invoice_id = pdf.invoice_id AND document.revision = pdf.revision AND pdf.format = 'pdf'
LEFT JOIN batch.invoice_document AS json
    ON invoice.invoice_id = json.invoice_id AND document.revision = json.revision AND json.format = 'json'
WHERE invoice.period_start = %(period_start)s AND invoice.number IS NOT null
ORDER BY invoice.kind DESC, length(invoice.number) ASC, invoice.number ASC, document.revision ASC;

-- name: open_invoices_on
-- Acts as batch_platform. The open amounts at the end of a day by the entries of the books, with receipts.
SELECT
    invoice.invoice_id, invoice.tenant_id, invoice.content ->> 'tenant_code' AS tenant_code, invoice.counterparty,
    invoice.currency, invoice.due_on, booked.open_amount
FROM (
    SELECT
        coalesce(document.credits_invoice_id, document.invoice_id) AS invoice_id,
        sum(
            CASE entry.booking WHEN 'reversal' THEN -1 ELSE 1 END
            * CASE
                WHEN entry.adjustment_id IS NOT null THEN -adjustment.amount
                WHEN payment.kind = 'refund' THEN payment.amount
                WHEN payment.kind = 'payment' THEN -payment.amount
                ELSE document.total
            END
        ) AS open_amount
    FROM batch.accounting_entry AS entry
    INNER JOIN batch.invoice AS document ON entry.invoice_id = document.invoice_id
    LEFT JOIN batch.adjustment ON entry.adjustment_id = adjustment.adjustment_id
    LEFT JOIN batch.payment ON entry.payment_id = payment.payment_id
    WHERE entry.booked_on <= %(day)s AND entry.booking <> 'void'
    GROUP BY coalesce(document.credits_invoice_id, document.invoice_id)
) AS booked
INNER JOIN batch.invoice ON booked.invoice_id = invoice.invoice_id
WHERE
    booked.open_amount <> 0
    AND (
        booked.open_amount < 0 OR invoice.marked_paid
        OR NOT EXISTS (
            SELECT FROM batch.all_paid_billing AS paid
            WHERE paid.id = invoice.invoice_id AND coalesce(paid.paid_on, %(day)s) <= %(day)s
        )
    )
ORDER BY invoice.tenant_id, invoice.currency, invoice.due_on, invoice.number;

-- name: open_invoices
-- Acts as batch_platform.
SELECT invoice_id, tenant_id, tenant_code, counterparty, currency, due_on, open_amount
FROM batch.receivable
ORDER BY tenant_id, currency, due_on, number;
