-- name: insert_adjustment
-- Also updates the sum on its invoice, which the transaction has locked. A trigger sets booked_on.
WITH entered AS (
    INSERT INTO batch.adjustment (
        adjustment_id, tenant_id, invoice_id, kind, accrued_on, amount, currency, content, fact, reason, payment_id, entered_by,
        execution_id
    )
    SELECT
        gen_random_uuid()::text AS adjustment_id,
        invoice.tenant_id,
        invoice.invoice_id,
        %(kind)s,
        %(accrued_on)s,
        %(amount)s,
        invoice.currency,
        %(content)s,
        %(fact)s,
        %(reason)s,
        %(payment_id)s,
        %(entered_by)s,
        %(execution_id)s
    FROM batch.invoice
    WHERE invoice.invoice_id = %(invoice_id)s
    RETURNING invoice_id, kind, amount
)

UPDATE batch.invoice
SET
    fee_total = invoice.fee_total + CASE entered.kind WHEN 'fee' THEN entered.amount ELSE 0 END,
    written_off_total = invoice.written_off_total + CASE entered.kind WHEN 'fee' THEN 0 ELSE entered.amount END
FROM entered
WHERE invoice.invoice_id = entered.invoice_id;

-- name: adjustments_of_invoice
SELECT content
FROM batch.adjustment
WHERE invoice_id = %(invoice_id)s AND kind = any(%(kinds)s)
ORDER BY entered_at;

-- name: last_write_off
SELECT max(accrued_on)
FROM batch.adjustment
WHERE invoice_id = %(invoice_id)s AND kind = 'write_off' AND amount > 0;

-- name: same_adjustments
-- Adjustments that were taken back do not count. A user takes back all earlier entries, a reversed payment only its own.
SELECT same.adjustment_id
FROM batch.adjustment AS same
WHERE
    same.invoice_id = %(invoice_id)s AND same.kind = %(kind)s AND same.amount = %(amount)s
    AND same.accrued_on = %(accrued_on)s
    AND NOT EXISTS (
        SELECT FROM batch.adjustment AS taken_back
        WHERE
            taken_back.invoice_id = same.invoice_id AND taken_back.kind = same.kind AND taken_back.amount < 0
            AND taken_back.entered_at > same.entered_at
            AND (taken_back.payment_id IS null OR taken_back.payment_id = same.payment_id)
    );

-- name: adjustments_of_run
SELECT content
FROM batch.adjustment
WHERE invoice_id = %(invoice_id)s AND execution_id = %(execution_id)s
ORDER BY entered_at;

-- name: adjustments_of_payment
-- The adjustments of a reversed payment. taken_back_on is as for the payment: the day of the reversal if the payment's month is
-- closed, otherwise their own day, on which the payment counts as 0.
SELECT
    adjustment.amount, adjustment.content, invoice.fee_total,
    CASE
        WHEN payment.reversal_booked_on IS null THEN adjustment.accrued_on
        ELSE (payment.reversed_at AT TIME ZONE 'Asia/Tokyo')::date
    END AS taken_back_on
FROM batch.adjustment
INNER JOIN batch.invoice ON adjustment.invoice_id = invoice.invoice_id
INNER JOIN batch.payment ON adjustment.payment_id = payment.payment_id
WHERE adjustment.payment_id = %(payment_id)s
ORDER BY adjustment.entered_at;
