-- name: month_states
-- A billing month's documents by state: numbers, amounts, and open amounts as on the page of receivables.
SELECT
    invoice.state, invoice.currency, count(*) AS documents, sum(invoice.total) AS total,
    sum(receivable.open_amount) FILTER (WHERE receivable.open_amount > 0) AS unpaid,
    -sum(receivable.open_amount) FILTER (WHERE receivable.open_amount < 0) AS owed_back
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_receivable AS receivable
    ON invoice.invoice_id = receivable.invoice_id AND receivable.period_start = %(month)s
WHERE invoice.period_start = %(month)s
GROUP BY invoice.state, invoice.currency
ORDER BY invoice.state, invoice.currency;

-- name: month_head
-- The sum of a month's issued invoices after their credit notes, by currency; yen first. An invoice that only the application
-- marks as paid is paid.
SELECT
    invoice.currency, count(*) AS invoices, sum(invoice.total - invoice.credited_total) AS billed,
    sum(
        CASE
            WHEN invoice.is_paid AND receivable.invoice_id IS null AND invoice.paid_total = 0
                THEN greatest(invoice.open_amount, 0)
            ELSE invoice.paid_total
        END
    ) AS paid,
    coalesce(sum(receivable.open_amount) FILTER (WHERE receivable.open_amount > 0), 0) AS unpaid,
    coalesce(
        sum(receivable.open_amount) FILTER (WHERE receivable.open_amount > 0 AND receivable.due_on < %(today)s), 0
    ) AS overdue
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_receivable AS receivable
    ON invoice.invoice_id = receivable.invoice_id AND receivable.period_start = %(month)s
WHERE
    invoice.period_start = %(month)s AND invoice.kind = 'invoice' AND invoice.status = 'finalized' AND invoice.number IS NOT null
GROUP BY invoice.currency
ORDER BY invoice.currency <> 'JPY', invoice.currency;

-- name: month_digest
-- The report of the newest run of the month's billing to the operators.
SELECT run.dag_id, run.run_id, run.ended_at, run.result -> 'digest' AS lines
FROM batch.board_run AS run
WHERE
    run.batch_id = %(batch_id)s AND NOT run.dry_run AND run.ended_at IS NOT null
    AND run.business_date >= %(month)s AND run.business_date < %(month)s + interval '1 month'
ORDER BY run.started_at DESC
LIMIT 1;

-- name: newest_month
-- The month, if it has documents. Otherwise the last earlier month with a numbered document.
SELECT
    coalesce(
        (
            SELECT max(period_start) FROM batch.board_invoice
            WHERE period_start = %(month)s
        ),
        (
            SELECT period_start FROM batch.board_invoice
            WHERE number IS NOT null AND period_start < %(month)s
            ORDER BY issued_on DESC
            LIMIT 1
        ),
        %(month)s
    ) AS month;

-- name: billed_months
SELECT period_start AS month, sum(yen_total) AS yen
FROM batch.board_invoice
WHERE period_start BETWEEN %(first)s AND %(month)s AND status = 'finalized' AND number IS NOT null
GROUP BY period_start;

-- name: month_taxes
-- The printed amounts of a billing month's numbered documents. Void ones do not count, credit notes count negative. For documents
-- with tax included, the amount without tax is calculated, as in the accounting list.
SELECT
    invoice.currency, tax.category, tax.rate_percent, count(*) AS documents,
    sum(tax.taxable_amount - CASE WHEN document.tax_included THEN tax.tax_amount ELSE 0 END) AS net,
    sum(tax.tax_amount) AS tax,
    sum(tax.taxable_amount + CASE WHEN document.tax_included THEN 0 ELSE tax.tax_amount END) AS gross,
    sum(coalesce((
        SELECT (yen.total ->> 'tax_amount')::numeric
        FROM jsonb_array_elements(document.yen_tax -> 'totals') AS yen (total)
        WHERE yen.total ->> 'category' = tax.category
    ), CASE invoice.currency WHEN 'JPY' THEN tax.tax_amount ELSE 0 END)) AS yen_tax
FROM batch.board_invoice AS invoice
CROSS JOIN
    LATERAL jsonb_to_record(invoice.content) AS document (tax_included boolean, tax_totals jsonb, yen_tax jsonb)
CROSS JOIN
    LATERAL jsonb_to_recordset(document.tax_totals) AS tax (
        category text, rate_percent numeric, taxable_amount numeric, tax_amount numeric
    )
WHERE invoice.period_start = %(month)s AND invoice.number IS NOT null AND invoice.status = 'finalized'
GROUP BY invoice.currency, tax.category, tax.rate_percent
ORDER BY invoice.currency ASC, tax.rate_percent DESC, tax.category ASC;

-- name: held_of_month
-- The held drafts with the last issued plan invoice before them, less its credit notes, and the open approval request. The reason
-- of the hold compares the same invoice. A draft that cannot be finalised at all has another outcome.
SELECT
    invoice.invoice_id, invoice.tenant_id,
    coalesce(tenant.tenant_code, invoice.tenant_code, invoice.tenant_id) AS tenant_code,
    coalesce(tenant.is_gone, true) AS is_vanished,
    invoice.kind, invoice.status, invoice.state, invoice.number, invoice.credited, invoice.credited_total, invoice.paid_total,
    invoice.fee_total, invoice.written_off_total, invoice.open_amount, invoice.is_paid, invoice.is_carried, invoice.is_stopped,
    invoice.corrected_by, invoice.is_closed, false AS letter_may_leave,
    invoice.counterparty, invoice.total, invoice.currency,
    invoice.hold_reason,
    coalesce(
        outcome.error_code = any(%(codes_of_holds)s) OR outcome.details ->> 'settlement' = 'held', false
    ) AS is_approvable,
    CASE WHEN outcome.error_code <> all(%(codes_of_holds)s) THEN outcome.error_message END AS problem,
    previous.total - previous.credited_total AS previous_total, previous.currency AS previous_currency,
    previous.invoice_id AS previous_invoice_id,
    exists(
        SELECT FROM batch.board_approval_item AS item
        INNER JOIN batch.board_approval_request AS request ON item.request_id = request.request_id
        WHERE
            item.tenant_id = invoice.tenant_id AND item.item_id = invoice.invoice_id AND item.answer IS null
            AND item.superseded_by IS null AND request.closed_at IS null
    ) AS is_asked
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_outcome AS outcome
    ON invoice.execution_id = outcome.execution_id AND invoice.tenant_id = outcome.tenant_id
LEFT JOIN LATERAL (
    SELECT past.invoice_id, past.total, past.credited_total, past.currency
    FROM batch.board_invoice AS past
    WHERE
        past.tenant_id = invoice.tenant_id AND past.period_start < invoice.period_start AND past.kind = 'invoice'
        AND past.status = 'finalized' AND NOT past.credited AND past.is_of_plan
    ORDER BY past.period_start DESC
    LIMIT 1
) AS previous ON true
WHERE invoice.period_start = %(month)s AND invoice.state = 'held'
ORDER BY tenant_code, invoice.invoice_id
LIMIT %(most)s;

-- name: documents_of_month
-- A page of the month's documents. A draft that cannot be finalised has the reason of its run. E-mails are looked up by id,
-- because a join may read all notifications.
WITH listed AS (
    SELECT
        invoice.invoice_id, coalesce(tenant.is_gone, true) AS is_vanished,
        coalesce(tenant.tenant_code, invoice.tenant_code, invoice.tenant_id) AS tenant_code, invoice.kind
    FROM batch.board_invoice AS invoice
    LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
    WHERE invoice.period_start = %(month)s AND (%(state)s::text IS null OR invoice.state = %(state)s)
    ORDER BY tenant_code ASC, invoice.kind DESC, length(invoice.number) ASC, invoice.number ASC, invoice.invoice_id ASC
    LIMIT %(most)s OFFSET %(skipped)s
)

SELECT
    listed.tenant_code, listed.is_vanished,
    invoice.invoice_id, invoice.tenant_id, invoice.kind, invoice.status, invoice.state, invoice.number,
    invoice.period_start, invoice.issued_on, invoice.leaves_on, invoice.due_on, invoice.currency, invoice.total,
    invoice.counterparty, stop.reason AS stop_reason, invoice.corrected_by, letter.state AS letter_state,
    letter.leaves_on AS letter_leaves_on,
    letter.finished_at AS letter_finished_at, coalesce(letter.may_leave, false) AS letter_may_leave,
    invoice.credited, invoice.credited_total, invoice.paid_total, invoice.fee_total, invoice.written_off_total,
    invoice.open_amount, invoice.is_paid, invoice.is_carried, invoice.is_stopped, invoice.is_closed,
    coalesce(receivable.open_amount, 0) AS receivable,
    coalesce(receivable.open_amount > 0 AND receivable.due_on < %(today)s, false) AS is_overdue,
    CASE invoice.state
        WHEN 'held' THEN invoice.hold_reason
        WHEN 'waiting_credit' THEN invoice.hold_reason
        WHEN 'void' THEN invoice.void_reason
        WHEN 'credit_note' THEN invoice.credit_reason
    END AS reason,
    coalesce(
        outcome.error_code = any(%(codes_of_holds)s) OR outcome.details ->> 'settlement' = 'held', false
    ) AS is_approvable,
    CASE
        WHEN invoice.status = 'draft' AND outcome.error_code <> all(%(codes_of_holds)s) THEN outcome.error_message
    END AS problem
FROM listed
INNER JOIN batch.board_invoice AS invoice ON listed.invoice_id = invoice.invoice_id
LEFT JOIN batch.board_receivable AS receivable
    ON listed.invoice_id = receivable.invoice_id AND receivable.period_start = %(month)s
LEFT JOIN LATERAL (
    SELECT found.state, found.leaves_on, found.finished_at, found.may_leave FROM batch.board_letter AS found
    WHERE found.letter_id = invoice.letter_id
    LIMIT 1 -- noqa: AM09
) AS letter ON true
LEFT JOIN batch.board_letter_stop AS stop ON invoice.invoice_id = stop.invoice_id
LEFT JOIN batch.board_outcome AS outcome
    ON invoice.execution_id = outcome.execution_id AND invoice.tenant_id = outcome.tenant_id
ORDER BY
    listed.tenant_code ASC, invoice.kind DESC, length(invoice.number) ASC, invoice.number ASC, invoice.invoice_id ASC;

-- name: stopped_letters
SELECT
    stop.invoice_id, coalesce(tenant.tenant_code, invoice.tenant_code, stop.tenant_id) AS tenant_code, stop.tenant_id,
    invoice.counterparty, invoice.number, invoice.period_start,
    invoice.due_on, stop.reason, stop.entered_by, stop.entered_at, stop.corrected_by,
    coalesce(tenant.is_gone, true) AS is_vanished, count(*) OVER () AS hits
FROM batch.board_letter_stop AS stop
INNER JOIN batch.board_invoice AS invoice ON stop.invoice_id = invoice.invoice_id
LEFT JOIN batch.board_tenant AS tenant ON stop.tenant_id = tenant.tenant_id
ORDER BY stop.entered_at
LIMIT %(most)s;

-- name: waiting_entries
-- The lines, credit notes and write-offs of all months that wait for another user's approval.
SELECT
    entry.kind, entry.entry_id, entry.tenant_id, entry.period_start, entry.entry_text, entry.amount, entry.currency,
    entry.entered_by, entry.entered_at, coalesce(tenant.tenant_code, entry.tenant_id) AS tenant_code,
    count(*) OVER () AS hits
FROM batch.board_waiting_entry AS entry
LEFT JOIN batch.board_tenant AS tenant ON entry.tenant_id = tenant.tenant_id
WHERE entry.kind IN ('line', 'credit', 'write_off')
ORDER BY entry.entered_at, entry.entry_id
LIMIT %(most)s;

-- name: invoice
SELECT
    invoice.invoice_id, invoice.tenant_id,
    coalesce(tenant.tenant_code, invoice.tenant_code, invoice.tenant_id) AS tenant_code,
    coalesce(tenant.is_gone, true) AS is_vanished,
    coalesce(tenant.tenant_name, '') AS tenant_name, invoice.kind, invoice.period_start, invoice.period_end,
    invoice.status, invoice.state, invoice.number, invoice.issued_on, invoice.leaves_on, invoice.due_on, invoice.booked_on,
    invoice.currency,
    stop.reason AS stop_reason, invoice.corrected_by, letter.state AS letter_state, letter.leaves_on AS letter_leaves_on,
    letter.finished_at AS letter_finished_at, coalesce(letter.may_leave, false) AS letter_may_leave,
    invoice.total, invoice.yen_total, invoice.counterparty,
    invoice.content, invoice.hold_reason, invoice.approved_by,
    invoice.credits_invoice_id, invoice.credit_reason, invoice.credited, invoice.credited_total, invoice.paid_total,
    invoice.fee_total, invoice.written_off_total,
    invoice.open_amount, invoice.is_paid, invoice.is_carried, invoice.is_stopped, invoice.is_closed,
    invoice.execution_id, invoice.created_at, invoice.finalized_at,
    invoice.voided_at, invoice.void_reason, invoice.voided_by, original.number AS original_number,
    coalesce(receivable.open_amount, 0) AS receivable,
    coalesce(
        outcome.error_code = any(%(codes_of_holds)s) OR outcome.details ->> 'settlement' = 'held', false
    ) AS is_approvable,
    CASE
        WHEN invoice.status = 'draft' AND outcome.error_code <> all(%(codes_of_holds)s) THEN outcome.error_message
    END AS problem,
    approving.execution_id IS NOT null AS is_approved_by_run, approving.triggered_by AS approved_through,
    voiding.execution_id IS NOT null AS is_voided_by_run, voiding.triggered_by AS voided_through
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
LEFT JOIN LATERAL (
    SELECT found.state, found.leaves_on, found.finished_at, found.may_leave FROM batch.board_letter AS found
    WHERE found.letter_id = invoice.letter_id
    LIMIT 1 -- noqa: AM09
) AS letter ON true
LEFT JOIN batch.board_letter_stop AS stop ON invoice.invoice_id = stop.invoice_id
LEFT JOIN batch.board_invoice AS original ON invoice.credits_invoice_id = original.invoice_id
LEFT JOIN batch.board_receivable AS receivable ON invoice.invoice_id = receivable.invoice_id
LEFT JOIN batch.board_outcome AS outcome
    ON invoice.execution_id = outcome.execution_id AND invoice.tenant_id = outcome.tenant_id
LEFT JOIN batch.board_run AS approving ON invoice.approved_by = approving.execution_id
LEFT JOIN batch.board_run AS voiding ON invoice.voided_by = voiding.execution_id
WHERE invoice.invoice_id = %(invoice_id)s;

-- name: invoice_inputs
SELECT inputs
FROM batch.board_calculation
WHERE invoice_id = %(invoice_id)s;

-- name: invoice_files
-- The newest revision first.
SELECT
    document.invoice_id, document.revision, document.format, document.sha256, document.bytes, document.written_at,
    invoice.period_start, invoice.number
FROM batch.board_document AS document
INNER JOIN batch.board_invoice AS invoice ON document.invoice_id = invoice.invoice_id
WHERE
    document.invoice_id = %(invoice_id)s AND (%(format)s::text IS null OR document.format = %(format)s)
    AND (%(revision)s::integer IS null OR document.revision = %(revision)s)
    AND invoice.number IS NOT null
ORDER BY document.revision DESC, document.format DESC;

-- name: invoice_revisions
SELECT revision, due_on, corrected_on, reason, entered_by, entered_at, execution_id
FROM batch.board_invoice_revision
WHERE invoice_id = %(invoice_id)s
ORDER BY revision;

-- name: letter_decisions
SELECT kind, reason, entered_by, entered_at, execution_id
FROM batch.board_letter_decision
WHERE invoice_id = %(invoice_id)s
ORDER BY entered_at;

-- name: invoice_payments
SELECT
    kind, paid_on, amount, currency, method, reference, reason, entered_by, entered_at, reversed_at, reversed_by,
    reversal_reason
FROM batch.board_payment
WHERE invoice_id = %(invoice_id)s
ORDER BY paid_on, entered_at;

-- name: invoice_adjustments
SELECT kind, accrued_on, booked_on, amount, currency, fact, reason, entered_by, entered_at
FROM batch.board_adjustment
WHERE invoice_id = %(invoice_id)s
ORDER BY entered_at;

-- name: invoice_credits
SELECT invoice_id, number, state, issued_on, total, currency, credit_reason
FROM batch.board_invoice
WHERE credits_invoice_id = %(invoice_id)s AND kind = 'credit'
ORDER BY finalized_at, number;

-- name: invoices_of_tenants_month
-- The other invoices of the tenant's month: a live one, and voided or credited ones.
SELECT invoice_id, number, state, issued_on, total, currency, created_at, content #>> '{replaces,number}' AS replaced_number
FROM batch.board_invoice
WHERE tenant_id = %(tenant_id)s AND period_start = %(month)s AND invoice_id <> %(invoice_id)s AND kind = 'invoice'
ORDER BY created_at
LIMIT %(most)s;

-- name: invoice_answers
SELECT
    request.request_id, request.dag_id, request.run_id, request.asked_at, request.closed_at, item.is_current,
    item.superseded_by, item.answer, item.answered_by, item.answered_at, item.note, item.result, item.result_text,
    item.execution_id, item.decided_at
FROM batch.board_approval_item AS item
INNER JOIN batch.board_approval_request AS request ON item.request_id = request.request_id
WHERE item.tenant_id = %(tenant_id)s AND item.item_id = %(invoice_id)s AND request.kind = 'invoices'
ORDER BY request.asked_at DESC
LIMIT %(most)s;

-- name: invoice_reminders
SELECT days, revision, queued_on, open_amount
FROM batch.board_reminder
WHERE invoice_id = %(invoice_id)s
ORDER BY queued_on, days;

-- name: reminder_stops
-- A stop for the entire tenant has no invoice_id.
SELECT invoice_id, reason, entered_by, entered_at
FROM batch.board_reminder_stop
WHERE tenant_id = %(tenant_id)s AND (invoice_id IS null OR invoice_id = %(invoice_id)s)
ORDER BY invoice_id;

-- name: invoice_letters
-- The e-mails and their copies to further addresses, whose ids add a number.
SELECT message_id, host_log_id, status, recipient, error_code, error_detail, created_at, finished_at
FROM batch.board_message
WHERE
    tenant_id = %(tenant_id)s AND regexp_replace(host_log_id, '-copy-[0-9]+$', '') = any(%(letter_ids)s)
ORDER BY created_at;
