-- name: waiting_transfers
-- A page of the unassigned transfers, without those that the next run records by itself. Transfers that may have paid an invoice
-- come first, by its due date.
SELECT
    transfer_id, booked_on, rest, account, payer_name, payer_code, reference, details, is_cancellation, doubt,
    count(*) OVER () AS hits
FROM batch.board_transfer
WHERE is_open AND doubt IS NOT null AND (%(doubt)s = '' OR doubt = %(doubt)s)
ORDER BY first_due_on NULLS LAST, booked_on, transfer_id
LIMIT %(most)s OFFSET %(skipped)s;

-- name: waiting_sums
-- The open transfers by doubt. Without one: the next run records them.
SELECT doubt, count(*) AS transfers, sum(CASE WHEN is_cancellation THEN -rest ELSE rest END) AS yen
FROM batch.board_transfer
WHERE is_open
GROUP BY doubt
ORDER BY doubt;

-- name: transfer_choices
SELECT
    choice.transfer_id, choice.choice, choice.tenant_id, choice.number, choice.amount, choice.fee,
    choice.payment_id IS NOT null AS is_payment, invoice.invoice_id,
    coalesce(receivable.open_amount, 0) AS open_amount,
    coalesce(tenant.tenant_code, invoice.tenant_code, choice.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, invoice.counterparty) AS tenant_name
FROM batch.board_transfer_choice AS choice
INNER JOIN batch.board_invoice AS invoice ON choice.number = invoice.number
LEFT JOIN batch.board_receivable AS receivable ON invoice.invoice_id = receivable.invoice_id
LEFT JOIN batch.board_tenant AS tenant ON choice.tenant_id = tenant.tenant_id
WHERE choice.transfer_id = any(%(transfer_ids)s) AND NOT choice.is_automatic
ORDER BY choice.transfer_id, choice.choice, choice.part;

-- name: set_aside_transfers
SELECT
    transfer_id, booked_on, rest, payer_name, is_cancellation, set_aside_reason, set_aside_by, set_aside_at,
    count(*) OVER () AS hits
FROM batch.board_transfer
WHERE set_aside_at IS NOT null
ORDER BY set_aside_at DESC
LIMIT %(most)s;

-- name: known_payers
-- The payers of the tenants whose code, name or payers' names contain a text.
SELECT
    payer.payer_id, payer.tenant_id, payer.payer_name, payer.payer_code, payer.confirmed_by, payer.confirmed_at,
    coalesce(tenant.tenant_code, payer.tenant_id) AS tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name,
    count(*) OVER () AS hits
FROM batch.board_payer AS payer
LEFT JOIN batch.board_tenant AS tenant ON payer.tenant_id = tenant.tenant_id
WHERE
    %(search)s::text IS null
    OR strpos(batch.folded(tenant.tenant_code), batch.folded(%(search)s)) > 0
    OR strpos(batch.folded(tenant.tenant_name), batch.folded(%(search)s)) > 0
    OR strpos(payer.payer_key, %(key)s) > 0
ORDER BY tenant_code, payer.payer_name, payer.payer_code
LIMIT %(most)s;

-- name: bank_files
SELECT
    sha256, name, form, transfers, new_transfers, first_day, last_day, total, imported_at, imported_by,
    count(*) OVER () AS hits
FROM batch.board_bank_file
ORDER BY imported_at DESC
LIMIT %(most)s;
