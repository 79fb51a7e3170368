-- name: overdue_former_tenants
-- Acts as batch_platform.
SELECT DISTINCT receivable.tenant_id
FROM batch.receivable
INNER JOIN batch.all_tenant AS tenant ON receivable.tenant_id = tenant.tenant_id
WHERE
    receivable.due_on BETWEEN %(first_day)s AND %(last_day)s AND receivable.open_amount > 0
    AND tenant.status NOT IN ('ACTIVE', 'TRIAL')
ORDER BY receivable.tenant_id;

-- name: lock_overdue
-- Ordered by id, like void_invoices, to prevent deadlocks.
SELECT invoice_id FROM batch.invoice
WHERE
    kind = 'invoice' AND number IS NOT null AND status = 'finalized' AND NOT credited
    AND open_amount <> 0 AND open_amount > 0
    -- The rest of a payment that may be the bank's fee.
    AND NOT (paid_total > 0 AND coalesce(open_amount * yen_total / nullif(total, 0) <= %(fee_tolerance)s, false))
    AND due_on BETWEEN %(first_day)s AND %(last_day)s
ORDER BY invoice_id
FOR UPDATE;

-- name: load_overdue
-- Excludes invoices that the application marks as PAID, and invoices on the stop list.
SELECT
    invoice.invoice_id, invoice.tenant_id, coalesce(newest.content, invoice.content) AS content, invoice.number,
    coalesce(newest.revision, 1) AS revision, invoice.issued_on, invoice.due_on, invoice.currency,
    invoice.open_amount,
    array(
        -- Reminders of an earlier revision are about its due date, which a correction has changed.
        SELECT known.days FROM batch.overdue_reminder AS known
        WHERE known.invoice_id = invoice.invoice_id AND known.queued_on > invoice.due_on
    ) AS queued_days,
    array(
        SELECT
            format('reminder-%%s-%%s', known.invoice_id, known.days)
            || CASE WHEN known.revision > 1 THEN format('-r%%s', known.revision) ELSE '' END
        FROM batch.overdue_reminder AS known
        WHERE known.invoice_id = invoice.invoice_id AND known.queued_on > invoice.due_on
    ) AS reminders,
    pdf.sha256,
    pdf.bytes,
    state.is_stopped,
    (
        SELECT array_to_string(hold.transfers, '、') FROM batch.reminder_hold AS hold
        WHERE hold.number = invoice.number AND hold.tenant_id = invoice.tenant_id AND hold.held_until >= %(today)s
    ) AS held_by
FROM batch.invoice
INNER JOIN batch.invoice_state AS state ON invoice.invoice_id = state.invoice_id
LEFT JOIN LATERAL (
    SELECT corrected.revision, corrected.content
    FROM batch.invoice_revision AS corrected
    WHERE corrected.invoice_id = invoice.invoice_id
    ORDER BY corrected.revision DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN batch.invoice_document AS pdf
    ON invoice.invoice_id = pdf.invoice_id AND coalesce(newest.revision, 1) = pdf.revision AND pdf.format = 'pdf'
WHERE
    invoice.invoice_id = any(%(invoice_ids)s)
    AND NOT EXISTS (
        SELECT FROM batch.tenant_billing AS billing
        WHERE billing.id = invoice.invoice_id AND upper(billing.billing_status) = 'PAID'
    )
    AND NOT EXISTS (
        SELECT FROM batch.reminder_stop AS stop
        WHERE
            stop.tenant_id = invoice.tenant_id
            AND (stop.invoice_id IS null OR stop.invoice_id = invoice.invoice_id)
    )
ORDER BY invoice.due_on, invoice.number;

-- name: unsent_reminders
-- The reminders of these that were withdrawn before they were certainly sent.
SELECT id
FROM batch.tenant_notification
WHERE id = any(%(notification_ids)s) AND is_deleted AND upper(send_status) IN ('PENDING', 'RETRY');

-- name: credit_balances
-- The amounts that the transaction's tenants have overpaid, per currency.
SELECT
    invoice.tenant_id,
    invoice.currency,
    -sum(invoice.open_amount) AS amount,
    string_agg(invoice.number, '、' ORDER BY invoice.number) AS numbers
FROM batch.invoice
WHERE
    invoice.kind = 'invoice' AND invoice.number IS NOT null AND invoice.status = 'finalized'
    AND invoice.open_amount <> 0 AND invoice.open_amount < 0
GROUP BY invoice.tenant_id, invoice.currency;

-- name: queue_reminder
INSERT INTO batch.overdue_reminder (tenant_id, invoice_id, days, revision, queued_on, open_amount, execution_id)
VALUES (%(tenant_id)s, %(invoice_id)s, %(days)s, %(revision)s, %(queued_on)s, %(open_amount)s, %(execution_id)s);

-- name: reminder_ids
SELECT format('reminder-%%s-%%s', invoice_id, days) || CASE WHEN revision > 1 THEN format('-r%%s', revision) ELSE '' END
FROM batch.overdue_reminder
WHERE invoice_id = any(%(invoice_ids)s);

-- name: lock_open_invoices
-- A concurrent transaction either queues a reminder before the stop, which is then withdrawn, or sees the stop.
SELECT invoice_id FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND invoice_id = coalesce(%(invoice_id)s, invoice_id)
    AND kind = 'invoice' AND number IS NOT null AND status = 'finalized'
ORDER BY invoice_id
FOR UPDATE;

-- name: insert_stop
INSERT INTO batch.reminder_stop (stop_id, tenant_id, invoice_id, reason, entered_by)
VALUES (gen_random_uuid()::text, %(tenant_id)s, %(invoice_id)s, %(reason)s, %(entered_by)s)
ON CONFLICT (tenant_id, invoice_id) DO NOTHING
RETURNING stop_id;

-- name: delete_stop
DELETE FROM batch.reminder_stop
WHERE tenant_id = %(tenant_id)s AND invoice_id IS NOT DISTINCT FROM %(invoice_id)s
RETURNING stop_id;
