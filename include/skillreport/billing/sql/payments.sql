-- name: find_payable
-- Documents of any status by number: of the transaction's tenants, or as batch_platform of all.
SELECT
    invoice_id, tenant_id, number, kind, status, currency, issued_on, open_amount, first_issued_on, replaced_by,
    written_off_total
FROM batch.payable
WHERE number = any(%(numbers)s);

-- name: overpaid_of_month
SELECT number FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND number IS NOT null
    AND status = 'finalized' AND open_amount < 0
ORDER BY number;

-- name: lock_invoices
-- Ordered by id, like void_invoices, to prevent deadlocks.
SELECT invoice_id FROM batch.invoice
WHERE number = any(%(numbers)s)
ORDER BY invoice_id
FOR UPDATE;

-- name: equal_payments
-- Recorded payments of the tenants that may be the same money as the new ones: the first of each. Entered payments for several
-- invoices on one day may be one transfer. The parts of a transfer may be entered as one payment. Several invoices are paid under
-- one reference.
WITH recorded AS (
    SELECT
        payment.tenant_id, payment.currency, payment.paid_on, payment.amount, payment.transfer_id,
        invoice.number AS numbers,
        payment.reference AS payment_references, payment.transfer_id IS null AND payment.source <> 'host' AS is_entered
    FROM batch.payment
    INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
    WHERE
        payment.kind = 'payment' AND payment.reversed_at IS null
        AND payment.tenant_id = any((SELECT batch.current_tenants())::text[])
        AND payment.paid_on >= %(since)s
),

found AS (
    SELECT tenant_id, currency, paid_on, amount, numbers, payment_references, is_entered FROM recorded
    UNION ALL
    SELECT
        tenant_id, currency, paid_on, sum(amount) AS amount, string_agg(numbers, '、' ORDER BY numbers) AS numbers,
        string_agg(payment_references, '、' ORDER BY numbers) AS payment_references, true AS is_entered
    FROM recorded
    WHERE is_entered
    GROUP BY tenant_id, currency, paid_on
    HAVING count(*) > 1
    UNION ALL
    SELECT
        tenant_id, currency, paid_on, sum(amount) AS amount, string_agg(numbers, '、' ORDER BY numbers) AS numbers,
        transfer_id AS payment_references, false AS is_entered
    FROM recorded
    WHERE transfer_id IS NOT null
    GROUP BY tenant_id, currency, paid_on, transfer_id
    HAVING count(*) > 1
)

SELECT DISTINCT ON (listed.place) listed.place, found.paid_on, found.numbers, found.payment_references
FROM
    jsonb_to_recordset(%(payments)s) AS listed (
        place integer, number text, paid_on date, amount numeric, reference text, transfer_id text
    )
INNER JOIN batch.invoice AS paid ON listed.number = paid.number
INNER JOIN found
    ON
        paid.tenant_id = found.tenant_id AND paid.currency = found.currency AND listed.amount = found.amount
        AND CASE
            WHEN listed.transfer_id IS null THEN listed.paid_on = found.paid_on AND listed.reference <> found.payment_references
            ELSE found.is_entered AND abs(listed.paid_on - found.paid_on) <= %(days)s
        END
WHERE
    NOT EXISTS (
        SELECT FROM batch.payment AS own
        WHERE own.invoice_id = paid.invoice_id AND own.reference = listed.reference
    )
ORDER BY listed.place, found.paid_on, found.numbers;

-- name: insert_payments
-- Insert payments of different invoices, and update the sums on the invoices, which the transaction has locked. No row of a
-- payment: its reference is already recorded.
WITH entered AS (
    INSERT INTO batch.payment (
        payment_id, tenant_id, invoice_id, kind, paid_on, amount, currency, yen, method, reference, transfer_id, source, reason,
        entered_by, execution_id
    )
    SELECT
        gen_random_uuid()::text AS payment_id,
        invoice.tenant_id,
        invoice.invoice_id,
        listed.kind,
        listed.paid_on,
        listed.amount,
        invoice.currency,
        listed.yen,
        listed.method,
        listed.reference,
        listed.transfer_id,
        %(source)s,
        %(reason)s,
        %(entered_by)s,
        %(execution_id)s
    FROM
        jsonb_to_recordset(%(payments)s) AS listed (
            invoice_id text, kind text, paid_on date, amount numeric, yen numeric, method text, reference text, transfer_id text
        )
    INNER JOIN batch.invoice ON listed.invoice_id = invoice.invoice_id
    ORDER BY listed.transfer_id, invoice.invoice_id
    ON CONFLICT (tenant_id, invoice_id, reference) DO NOTHING
    RETURNING payment_id, invoice_id, CASE kind WHEN 'refund' THEN -amount ELSE amount END AS amount
)

UPDATE batch.invoice
SET paid_total = invoice.paid_total + entered.amount
FROM entered
WHERE invoice.invoice_id = entered.invoice_id
RETURNING entered.payment_id, invoice.invoice_id, invoice.written_off_total > 0 AS is_written_off;

-- name: paid_in_application
-- These invoices, if the application itself marks them as PAID.
SELECT invoice.number
FROM batch.invoice
WHERE
    invoice.number = any(%(numbers)s) AND NOT invoice.marked_paid
    AND EXISTS (
        SELECT FROM batch.tenant_billing AS billing
        WHERE billing.id = invoice.invoice_id AND upper(billing.billing_status) = 'PAID'
    );

-- name: all_paid_in_application
-- The same as batch_platform, for all tenants.
SELECT invoice.number
FROM batch.invoice
WHERE
    invoice.number = any(%(numbers)s) AND NOT invoice.marked_paid
    AND EXISTS (
        SELECT FROM batch.all_paid_billing AS paid
        WHERE paid.id = invoice.invoice_id
    );

-- name: is_applications_own
-- True for the application's own payment of an invoice that it still marks as PAID.
SELECT
    exists(
        SELECT FROM batch.payment
        INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
        INNER JOIN batch.tenant_billing AS billing ON invoice.invoice_id = billing.id
        WHERE
            payment.payment_id = %(payment_id)s AND payment.source = 'host' AND NOT invoice.marked_paid
            AND upper(billing.billing_status) = 'PAID'
    );

-- name: record_application_payment
-- The payment of an invoice that the application marks as PAID and for which nothing is recorded. The application may have taken
-- an earlier one back, which keeps its reference. Moved payments are not recorded again.
WITH entered AS (
    INSERT INTO batch.payment (
        payment_id, tenant_id, invoice_id, paid_on, amount, currency, yen, method, reference, source, entered_by,
        execution_id
    )
    SELECT
        gen_random_uuid()::text AS payment_id,
        invoice.tenant_id,
        invoice.invoice_id,
        coalesce(
            CASE
                WHEN batch.is_dated(billing.paid_date) THEN (billing.paid_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date
            END,
            %(today)s
        ) AS paid_on,
        invoice.open_amount AS amount,
        invoice.currency,
        %(yen)s,
        coalesce(nullif(btrim(billing.payment_method), ''), 'アプリの入金') AS method,
        'HIS_TenantBilling' || coalesce(
            (
                SELECT format(' %%s', count(*) + 1) FROM batch.payment AS earlier
                WHERE earlier.invoice_id = invoice.invoice_id AND starts_with(earlier.reference, 'HIS_TenantBilling')
                HAVING count(*) > 0
            ), ''
        ) AS reference,
        'host' AS source,
        'HIS_TenantBilling' AS entered_by,
        %(execution_id)s
    FROM batch.invoice
    INNER JOIN batch.tenant_billing AS billing ON invoice.invoice_id = billing.id
    WHERE
        invoice.invoice_id = %(invoice_id)s AND invoice.paid_total = 0 AND invoice.open_amount > 0
        AND upper(billing.billing_status) = 'PAID'
        AND NOT EXISTS (
            SELECT FROM batch.payment AS gone
            INNER JOIN batch.payment AS moved
                ON gone.tenant_id = moved.tenant_id AND gone.reversal_execution_id = moved.execution_id
            WHERE
                gone.invoice_id = invoice.invoice_id AND gone.source = 'host' AND gone.reference = moved.reference
                AND moved.reversed_at IS null
        )
    RETURNING invoice_id, amount
)

UPDATE batch.invoice
SET paid_total = invoice.paid_total + entered.amount
FROM entered
WHERE invoice.invoice_id = entered.invoice_id;

-- name: find_payments
-- The payments with these references: of the transaction's tenants, or as batch_platform of all.
SELECT
    payment.payment_id, payment.invoice_id, payment.tenant_id, invoice.number, payment.reference, payment.paid_on, payment.amount,
    payment.currency, payment.method, payment.kind, payment.transfer_id, payment.reversed_at, payment.reversal_execution_id
FROM batch.payment
INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
WHERE
    payment.reference = any(%(payment_references)s)
    AND (payment.tenant_id = %(tenant_id)s OR %(tenant_id)s::text IS null)
    AND (invoice.period_start = %(period_start)s OR %(period_start)s::date IS null)
ORDER BY invoice.number, payment.entered_at;

-- name: references_of
SELECT payment.reference FROM batch.payment
INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
WHERE invoice.number = %(number)s;

-- name: reverse_payment
WITH taken_back AS (
    UPDATE batch.payment
    SET
        reversed_at = clock_timestamp(), reversed_by = %(reversed_by)s, reversal_reason = %(reason)s,
        reversal_execution_id = %(execution_id)s
    WHERE payment_id = %(payment_id)s AND reversed_at IS null
    RETURNING invoice_id, CASE kind WHEN 'refund' THEN -amount ELSE amount END AS amount
)

UPDATE batch.invoice
SET paid_total = invoice.paid_total - taken_back.amount
FROM taken_back
WHERE invoice.invoice_id = taken_back.invoice_id
RETURNING invoice.invoice_id;

-- name: payment_state
SELECT open_amount, paid_total, written_off_total
FROM batch.invoice
WHERE invoice_id = %(invoice_id)s;

-- name: yen_taken
-- The yen that payments, refunds and adjustments have taken from a receivable.
SELECT
    coalesce((
        SELECT sum(CASE payment.kind WHEN 'refund' THEN -payment.yen ELSE payment.yen END) FROM batch.payment
        WHERE payment.invoice_id = %(invoice_id)s AND payment.reversed_at IS null
    ), 0)
    + coalesce((
        SELECT sum((parts.part ->> 'yen')::numeric)
        FROM batch.adjustment
        CROSS JOIN LATERAL jsonb_array_elements(adjustment.content -> 'parts') AS parts (part)
        WHERE adjustment.invoice_id = %(invoice_id)s
    ), 0);

-- name: settled_invoices
-- Whether payments have settled each of these invoices, and whether the application's row shows that.
SELECT invoice_id, paid_total > 0 AND open_amount <= 0 AND written_off_total = 0 AS is_settled, marked_paid
FROM batch.invoice
WHERE invoice_id = any(%(invoice_ids)s);

-- name: lock_host_rows
-- The application's rows that are PAID. All rows are locked until the transaction ends.
SELECT locked.id FROM (
    SELECT id, billing_status FROM batch.tenant_billing
    WHERE id = any(%(invoice_ids)s)
    ORDER BY id
    FOR UPDATE
) AS locked
WHERE upper(locked.billing_status) = 'PAID';

-- name: mark_paid
UPDATE batch.invoice SET marked_paid = %(is_marked)s
WHERE invoice_id = any(%(invoice_ids)s);

-- name: unmark_host_rows
UPDATE batch.tenant_billing
SET billing_status = 'INVOICED', paid_date = null, payment_method = null, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = any(%(invoice_ids)s) AND upper(billing_status) = 'PAID';

-- name: former_invoiced_tenants
-- Acts as batch_platform. Inactive tenants with a numbered invoice of the month, or a draft.
SELECT DISTINCT invoice.tenant_id
FROM batch.invoice
INNER JOIN batch.all_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
WHERE
    invoice.period_start = %(period_start)s AND invoice.kind = 'invoice'
    AND (invoice.number IS NOT null OR invoice.status = 'draft')
    AND tenant.status NOT IN ('ACTIVE', 'TRIAL')
ORDER BY invoice.tenant_id;

-- name: vanished_payers
-- Acts as batch_platform. Deleted tenants with a numbered invoice, with the code and name of their last invoice.
SELECT DISTINCT ON (invoice.tenant_id)
    invoice.tenant_id,
    coalesce(invoice.content ->> 'tenant_code', invoice.tenant_id) AS tenant_code,
    coalesce(invoice.counterparty, invoice.tenant_id) AS tenant_name
FROM batch.invoice
WHERE
    invoice.kind = 'invoice' AND invoice.number IS NOT null
    AND NOT EXISTS (
        SELECT FROM batch.all_tenant AS tenant
        WHERE tenant.tenant_id = invoice.tenant_id
    )
ORDER BY invoice.tenant_id ASC, invoice.period_start DESC;
