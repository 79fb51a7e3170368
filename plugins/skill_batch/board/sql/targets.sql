-- name: described_messages
SELECT
    message.message_id, message.tenant_id, coalesce(tenant.tenant_code, message.tenant_id) AS tenant_code, message.channel,
    message.status, message.recipient, message.error_detail
FROM batch.board_message AS message
LEFT JOIN batch.board_tenant AS tenant ON message.tenant_id = tenant.tenant_id
WHERE message.message_id = any(%(ids)s)
ORDER BY tenant_code, message.message_id;

-- name: described_invoices
-- The operations have the same statements, named shown_....
SELECT
    coalesce(tenant.tenant_code, invoice.tenant_id) AS tenant_code, invoice.tenant_id, invoice.status, invoice.number,
    coalesce(invoice.number, '番号なし') AS thing, invoice.total, invoice.currency, invoice.hold_reason, invoice.state,
    waiting.entry_text, waiting.entered_by, invoice.kind, invoice.created_at,
    CASE invoice.kind WHEN 'invoice' THEN invoice.invoice_id END AS invoice_id
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_waiting_entry AS waiting ON invoice.invoice_id = waiting.entry_id AND waiting.kind = 'credit'
WHERE
    invoice.tenant_id = any(%(tenant_ids)s) AND invoice.period_start = %(period_start)s
    AND (
        (
            invoice.kind = 'invoice'
            AND (invoice.status <> 'void' OR (%(also)s = 'closed' AND invoice.number IS NOT null))
        )
        OR (starts_with(%(also)s, 'waiting') AND invoice.state = 'waiting_credit')
    )
UNION ALL
SELECT
    coalesce(tenant.tenant_code, written.tenant_id) AS tenant_code, written.tenant_id, 'draft' AS status, null AS number,
    split_part(written.entry_text, ' ', 1) || ' の貸倒れ' AS thing, written.amount AS total, written.currency, null AS hold_reason,
    'waiting_write_off' AS state, written.entry_text, written.entered_by, 'write_off' AS kind, written.entered_at,
    null AS invoice_id
FROM batch.board_waiting_entry AS written
LEFT JOIN batch.board_tenant AS tenant ON written.tenant_id = tenant.tenant_id
WHERE
    %(also)s = 'waiting' AND written.kind = 'write_off' AND written.tenant_id = any(%(tenant_ids)s)
    AND written.period_start = %(period_start)s
ORDER BY tenant_code ASC, tenant_id ASC, kind DESC, created_at ASC;

-- name: described_lines
SELECT
    coalesce(tenant.tenant_code, line.tenant_id) AS tenant_code, line.tenant_id,
    line.description || ' ' || line.charged_on AS thing, line.amount AS total, line.currency
FROM batch.board_extra_charge AS line
LEFT JOIN batch.board_tenant AS tenant ON line.tenant_id = tenant.tenant_id
WHERE
    line.tenant_id = any(%(tenant_ids)s)
    AND (line.extra_charge_id = %(line_text)s OR line.description = %(line_text)s)
    AND line.charged_on = coalesce(%(line_date)s::date, line.charged_on)
ORDER BY tenant_code, line.charged_on, line.extra_charge_id;

-- name: described_tenants
SELECT
    chosen.tenant_id, coalesce(tenant.tenant_code, chosen.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, count(receivable.invoice_id) AS unpaid
FROM unnest(%(tenant_ids)s::text[]) AS chosen (tenant_id)
LEFT JOIN batch.board_tenant AS tenant ON chosen.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_receivable AS receivable ON chosen.tenant_id = receivable.tenant_id
GROUP BY chosen.tenant_id, tenant.tenant_id, tenant.tenant_code, tenant.tenant_name
HAVING tenant.tenant_id IS NOT null OR count(receivable.invoice_id) > 0
ORDER BY tenant_code, chosen.tenant_id;

-- name: described_stops
-- The tenants with their stop, if any, and the number of their waiting messages.
SELECT
    tenant.tenant_id, tenant.tenant_code, tenant.tenant_name,
    to_char(stop.entered_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS') || ' からの停止' AS thing,
    count(message.message_id) AS messages,
    count(message.message_id) FILTER (WHERE message.template_key = any(%(contract_letters)s)) AS letters
FROM batch.board_tenant AS tenant
LEFT JOIN batch.board_message_stop AS stop ON tenant.tenant_id = stop.tenant_id
LEFT JOIN batch.board_message AS message
    ON tenant.tenant_id = message.tenant_id AND message.status IN ('pending', 'retry')
WHERE tenant.tenant_id = any(%(tenant_ids)s)
GROUP BY tenant.tenant_id, tenant.tenant_code, tenant.tenant_name, stop.entered_at
ORDER BY tenant.tenant_code, tenant.tenant_id;

-- name: described_channels
SELECT
    coalesce(tenant.tenant_code, circuit.tenant_id) AS tenant_code, circuit.tenant_id, circuit.channel,
    circuit.channel AS thing, circuit.reason, circuit.error_code
FROM batch.board_channel_circuit AS circuit
LEFT JOIN batch.board_tenant AS tenant ON circuit.tenant_id = tenant.tenant_id
WHERE circuit.tenant_id = any(%(tenant_ids)s)
ORDER BY tenant_code, circuit.tenant_id, circuit.channel;

-- name: described_offboardings
SELECT DISTINCT ON (leaving.tenant_id)
    leaving.tenant_code, leaving.tenant_name, leaving.tenant_id,
    to_char(leaving.begun_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS') || ' に始めた退会' AS thing
FROM batch.board_offboarding AS leaving
WHERE leaving.tenant_id = any(%(tenant_ids)s)
ORDER BY leaving.tenant_id ASC, leaving.begun_at DESC;

-- name: open_items
-- The names are the fields of the start of an offboarding.
SELECT open_invoices, held_drafts, unbilled_days, waiting_messages, directory_links
FROM batch.board_open_item
WHERE tenant_id = any(%(tenant_ids)s);

-- name: described_contracts
SELECT
    tenant.tenant_code, tenant.tenant_name, tenant.tenant_id,
    '契約の最後の変更 '
    || to_char(
        max(coalesce(change.decided_at, change.entered_at)) AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS'
    ) AS thing
FROM batch.board_tenant AS tenant
LEFT JOIN batch.board_contract_change AS change ON tenant.tenant_id = change.tenant_id AND change.status = 'applied'
WHERE tenant.tenant_id = any(%(tenant_ids)s)
GROUP BY tenant.tenant_code, tenant.tenant_name, tenant.tenant_id
ORDER BY tenant.tenant_code, tenant.tenant_id;

-- name: described_rates
SELECT
    '' AS tenant_id, '' AS tenant_code, rate.currency || ' ' || rate.rate_date AS thing, rate.yen_per_unit AS total,
    'JPY' AS currency
FROM batch.board_exchange_rate AS rate
WHERE rate.currency = %(currency)s AND rate.rate_date = %(rate_date)s::date;

-- name: described_transfers
-- The transfers, and the invoices with these numbers.
SELECT
    '' AS tenant_code, transfer.payer_name AS tenant_name, transfer.transfer_id || ' ' || transfer.booked_on AS thing,
    transfer.rest AS total, 'JPY' AS currency
FROM batch.board_transfer AS transfer
WHERE transfer.transfer_id = any(%(ids)s)
UNION ALL
SELECT
    coalesce(tenant.tenant_code, invoice.tenant_id) AS tenant_code, invoice.counterparty AS tenant_name,
    invoice.number AS thing, invoice.total, invoice.currency
FROM batch.board_invoice AS invoice
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
WHERE invoice.number = any(%(numbers)s)
ORDER BY thing;

-- name: described_payers
SELECT
    coalesce(tenant.tenant_code, payer.tenant_id) AS tenant_code, payer.payer_name AS tenant_name, payer.payer_id AS thing
FROM batch.board_payer AS payer
LEFT JOIN batch.board_tenant AS tenant ON payer.tenant_id = tenant.tenant_id
WHERE payer.payer_id = any(%(ids)s)
ORDER BY tenant_code, payer.payer_name;

-- name: described_changes
SELECT
    coalesce(tenant.tenant_code, change.tenant_id) AS tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name,
    change.change_id AS thing
FROM batch.board_contract_change AS change
LEFT JOIN batch.board_tenant AS tenant ON change.tenant_id = tenant.tenant_id
WHERE change.change_id = any(%(ids)s)
ORDER BY tenant_code, change.change_id;

-- name: newest_backup
SELECT backup_id
FROM batch.board_backup
WHERE status = 'verified'
ORDER BY verified_at DESC, backup_id DESC
LIMIT 1;

-- name: compared
-- Each tenant's newest comparison with the backup; without one, only the tenant.
SELECT DISTINCT ON (tenant.tenant_id)
    tenant.tenant_id, tenant.tenant_code, tenant.tenant_name, run.execution_id, run.started_at, outcome.notes
FROM batch.board_tenant AS tenant
LEFT JOIN (
    batch.board_outcome AS outcome
    INNER JOIN batch.board_run AS run
        ON
            outcome.execution_id = run.execution_id AND run.batch_id = %(batch_id)s AND run.operation = 'compare'
            AND run.backup = %(backup)s
) ON tenant.tenant_id = outcome.tenant_id AND outcome.status = 'success'
WHERE tenant.tenant_id = any(%(tenant_ids)s)
ORDER BY tenant.tenant_id ASC, run.started_at DESC NULLS LAST;

-- name: former_tenant_ids
-- The tenants that only invoices know, by their id or by the code on their last invoice.
SELECT last.tenant_id
FROM (
    SELECT DISTINCT ON (invoice.tenant_id) invoice.tenant_id, invoice.tenant_code
    FROM batch.board_invoice AS invoice
    WHERE
        invoice.kind = 'invoice' AND invoice.number IS NOT null
        AND NOT EXISTS (
            SELECT FROM batch.board_tenant AS tenant
            WHERE tenant.tenant_id = invoice.tenant_id
        )
    ORDER BY invoice.tenant_id ASC, invoice.period_start DESC
) AS last
WHERE last.tenant_id = any(%(names)s) OR last.tenant_code = any(%(names)s)
ORDER BY last.tenant_id;

-- name: present_invoices
-- These invoices, and the same tenants' invoices with these numbers, with final credit notes and payments.
SELECT
    invoice.invoice_id, invoice.tenant_id, coalesce(tenant.tenant_code, invoice.tenant_id) AS tenant_code,
    invoice.invoice_id = any(%(invoice_ids)s) AS of_month, invoice.kind, invoice.status, invoice.number, invoice.issued_on,
    invoice.due_on, invoice.content, invoice.total, invoice.credited, invoice.credited_total, invoice.paid_total,
    invoice.fee_total, invoice.written_off_total, invoice.open_amount, invoice.is_paid, invoice.is_carried,
    invoice.is_stopped, invoice.corrected_by, invoice.input_hash, invoice.execution_id, invoice.leaves_on,
    calculation.inputs,
    payable.first_issued_on,
    (
        SELECT letter.may_leave FROM batch.board_letter AS letter
        WHERE letter.letter_id = invoice.letter_id
        LIMIT 1 -- noqa: AM09
    ) AS may_leave,
    exists(
        SELECT FROM batch.board_reminder_stop AS stop
        WHERE stop.tenant_id = invoice.tenant_id AND (stop.invoice_id IS null OR stop.invoice_id = invoice.invoice_id)
    ) AS has_no_reminders,
    (
        SELECT
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'content', credit.content, 'number', credit.number, 'issued_on', credit.issued_on,
                        'due_on', credit.due_on
                    ) ORDER BY credit.finalized_at, credit.number
                ),
                '[]'
            )
        FROM batch.board_invoice AS credit
        WHERE
            credit.credits_invoice_id = invoice.invoice_id AND credit.kind = 'credit' AND credit.status = 'finalized'
    ) AS credits
FROM batch.board_invoice AS invoice
INNER JOIN batch.board_calculation AS calculation ON invoice.invoice_id = calculation.invoice_id
INNER JOIN batch.board_payable AS payable ON invoice.invoice_id = payable.invoice_id
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
WHERE
    invoice.invoice_id = any(%(invoice_ids)s)
    OR (invoice.number = any(%(numbers)s) AND invoice.tenant_id = any(%(tenant_ids)s))
ORDER BY tenant_code, invoice.tenant_id, invoice.created_at;

-- name: present_transfers
-- The columns of a transfer in billing (FoundTransfer). The board does not see the key of the payer, and no decision needs it.
SELECT
    transfer_id, booked_on, amount, rest, payer_name, '' AS payer_key, payer_code, is_cancellation,
    set_aside_at IS NOT null AS is_set_aside, NOT is_open AND rest > 0 AND set_aside_at IS null AS is_cancelled, doubt
FROM batch.board_transfer
WHERE transfer_id = any(%(ids)s);

-- name: offered_invoices
-- The unpaid invoices for a transfer, the likeliest first: chosen ones, those of a tenant with this payer, of this amount, then
-- those less a fee.
SELECT
    coalesce(tenant.tenant_code, receivable.tenant_id) AS tenant_code, receivable.counterparty, receivable.invoice_id,
    receivable.number, receivable.due_on, receivable.open_amount, count(*) OVER () AS hits
FROM batch.board_receivable AS receivable
INNER JOIN batch.board_transfer AS transfer ON transfer.transfer_id = %(transfer_id)s
LEFT JOIN batch.board_tenant AS tenant ON receivable.tenant_id = tenant.tenant_id
WHERE receivable.currency = 'JPY' AND receivable.open_amount > 0
ORDER BY
    coalesce(array_position(%(chosen)s::text[], receivable.number), 1000) ASC,
    EXISTS (
        SELECT FROM batch.board_payer AS payer
        WHERE payer.tenant_id = receivable.tenant_id AND payer.payer_name = transfer.payer_name
    ) DESC,
    receivable.open_amount = transfer.rest DESC,
    receivable.open_amount - transfer.rest BETWEEN 0 AND %(fee_tolerance)s DESC,
    receivable.due_on ASC, length(receivable.number) ASC, receivable.number ASC
LIMIT %(most)s;

-- name: present_payables
-- The documents that a payment names, with the columns of Payable.
SELECT
    coalesce(tenant.tenant_code, payable.tenant_id) AS tenant_code, payable.invoice_id, payable.tenant_id, payable.number,
    payable.kind, payable.status, payable.currency, payable.issued_on, payable.open_amount, payable.first_issued_on,
    payable.replaced_by, payable.written_off_total
FROM batch.board_payable AS payable
LEFT JOIN batch.board_tenant AS tenant ON payable.tenant_id = tenant.tenant_id
WHERE payable.number = any(%(numbers)s);

-- name: about_entry
-- The data for an entry's limit (billing/entry_limits.py), as entered_yen, recurring_yen and currency_of of billing, and the
-- e-mail's address (load_contacts).
SELECT
    coalesce(sum(entry.yen), 0) AS yen,
    coalesce(bool_or(entry.tenant_id IS NOT null AND entry.yen IS null), false) AS is_unknown,
    array(
        SELECT recurring.yen FROM batch.board_recurring_yen AS recurring
        WHERE recurring.tenant_id = asked.tenant_id AND recurring.yen IS NOT null
        ORDER BY recurring.period_start DESC
        LIMIT %(months)s
    ) AS recurring,
    CASE coalesce(tenant.profile ->> 'currency', tenant.stated ->> 'currency')
        WHEN 'JPY' THEN 1
        ELSE (
            SELECT rate.yen_per_unit FROM batch.board_exchange_rate AS rate
            WHERE rate.currency = coalesce(tenant.profile ->> 'currency', tenant.stated ->> 'currency')
            ORDER BY rate.rate_date DESC
            LIMIT 1
        )
    END AS newest_rate,
    coalesce(tenant.profile ->> 'email', tenant.stated ->> 'email') AS email
FROM (SELECT %(tenant_id)s::text) AS asked (tenant_id)
LEFT JOIN batch.board_billing_profile AS tenant ON asked.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_entry_yen AS entry
    ON
        asked.tenant_id = entry.tenant_id AND entry.period_start = %(period_start)s
        AND batch.person_key(entry.entered_by) = batch.person_key(%(person)s)
GROUP BY asked.tenant_id, tenant.profile, tenant.stated;

-- name: present_payments
SELECT invoice_id, kind, paid_on, amount, currency, method, reference, reversed_at, adjusted
FROM batch.board_payment
WHERE invoice_id = any(%(invoice_ids)s)
ORDER BY entered_at;

-- name: present_contract_rows
-- A tenant's rows of a kind of contract. A profile also has what documents state where it is empty.
SELECT profile AS columns, stated, null::date AS valid_from, null::date AS valid_to
FROM batch.board_billing_profile
WHERE %(kind)s = 'profile' AND tenant_id = %(owner)s
UNION ALL
SELECT terms AS columns, null AS stated, valid_from, valid_to
FROM batch.board_contract_term
WHERE kind = %(kind)s AND tenant_id = %(owner)s
UNION ALL
SELECT
    jsonb_build_object('payer_key', payer_key, 'payer_code', payer_code, 'payer_name', payer_name) AS columns,
    null AS stated, null AS valid_from, null AS valid_to
FROM batch.board_payer
WHERE %(kind)s = 'payer' AND tenant_id = %(owner)s;

-- name: present_rates
SELECT currency, rate_date, yen_per_unit
FROM batch.board_exchange_rate
WHERE currency = %(owner)s;
