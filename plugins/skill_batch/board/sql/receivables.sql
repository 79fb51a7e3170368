-- name: open_amounts
-- The open amounts by due date. Amounts owed to customers are separate.
SELECT
    currency, due_on, open_amount < 0 AS is_owed_back, count(*) AS invoices, sum(open_amount) AS open_amount
FROM batch.board_receivable
GROUP BY currency, due_on, open_amount < 0
ORDER BY currency, due_on;

-- name: open_invoices
-- A page of the invoices with an open amount. "due_days" are the due dates to show; "without_day" adds those without one.
WITH listed AS (
    SELECT
        receivable.invoice_id, receivable.tenant_id, receivable.counterparty, receivable.number,
        receivable.period_start, receivable.due_on, receivable.currency, receivable.total, receivable.open_amount
    FROM batch.board_receivable AS receivable
    WHERE
        (
            %(due_days)s::date[] IS null
            OR (
                (receivable.due_on = any(%(due_days)s) OR (receivable.due_on IS null AND %(without_day)s))
                AND (receivable.open_amount < 0) = %(is_owed_back)s
            )
        )
        AND (%(counterparty)s::text IS null OR strpos(batch.folded(receivable.counterparty), batch.folded(%(counterparty)s)) > 0)
    ORDER BY receivable.counterparty, receivable.tenant_id, receivable.due_on, receivable.number
    LIMIT %(most)s OFFSET %(skipped)s
)

SELECT
    listed.invoice_id, listed.tenant_id,
    coalesce(tenant.tenant_code, invoice.tenant_code, listed.tenant_id) AS tenant_code,
    invoice.credited,
    listed.counterparty, listed.number, listed.period_start, listed.due_on, listed.currency, listed.total,
    listed.open_amount, reminder.days AS reminded_days, reminder.queued_on AS reminded_on,
    coalesce(stop.is_of_invoice, false) AS is_invoice_stopped, coalesce(stop.is_of_tenant, false) AS is_tenant_stopped,
    stop.reasons AS stop_reasons,
    exists(
        SELECT FROM batch.board_transfer_choice AS choice
        WHERE choice.number = listed.number
    ) AS has_transfer
FROM listed
INNER JOIN batch.board_invoice AS invoice ON listed.invoice_id = invoice.invoice_id
LEFT JOIN batch.board_tenant AS tenant ON listed.tenant_id = tenant.tenant_id
LEFT JOIN LATERAL (
    SELECT sent.days, sent.queued_on
    FROM batch.board_reminder AS sent
    WHERE sent.invoice_id = listed.invoice_id
    ORDER BY sent.days DESC
    LIMIT 1
) AS reminder ON true
LEFT JOIN LATERAL (
    SELECT
        bool_or(known.invoice_id IS NOT null) AS is_of_invoice, bool_or(known.invoice_id IS null) AS is_of_tenant,
        string_agg(known.reason, '、') AS reasons
    FROM batch.board_reminder_stop AS known
    WHERE known.tenant_id = listed.tenant_id AND (known.invoice_id IS null OR known.invoice_id = listed.invoice_id)
) AS stop ON true
ORDER BY listed.counterparty, listed.tenant_id, listed.due_on, listed.number;

-- name: count_open_invoices
SELECT count(*)
FROM batch.board_receivable AS receivable
WHERE
    (
        %(due_days)s::date[] IS null
        OR (
            (receivable.due_on = any(%(due_days)s) OR (receivable.due_on IS null AND %(without_day)s))
            AND (receivable.open_amount < 0) = %(is_owed_back)s
        )
    )
    AND (%(counterparty)s::text IS null OR strpos(batch.folded(receivable.counterparty), batch.folded(%(counterparty)s)) > 0);
