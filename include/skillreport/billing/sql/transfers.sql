-- name: lock_transfers
-- Runs one import or matching at a time, and none while payments are recorded.
SELECT pg_advisory_xact_lock(%(lock)s, 0);

-- name: keep_transfers
-- Prevents a matching until the transaction ends, because it changes transfers and choices in another order.
SELECT pg_advisory_xact_lock_shared(%(lock)s, 0);

-- name: find_bank_file
SELECT run_on FROM batch.bank_file
WHERE sha256 = %(sha256)s;

-- name: insert_bank_file
INSERT INTO batch.bank_file (
    sha256, name, form, transfers, new_transfers, first_day, last_day, total, run_on, imported_by, execution_id
)
VALUES (
    %(sha256)s, %(name)s, %(form)s, %(transfers)s, 0, %(first_day)s, %(last_day)s, %(total)s, %(run_on)s, %(imported_by)s,
    %(execution_id)s
);

-- name: insert_transfers
-- The transfers that no earlier file has.
WITH inserted AS (
    INSERT INTO batch.bank_transfer (
        transfer_id, sha256, line, account, booked_on, amount, payer_name, payer_key, payer_code, reference, details,
        is_cancellation
    )
    SELECT
        listed.transfer_id, %(sha256)s, listed.line, listed.account, listed.booked_on, listed.amount,
        listed.payer_name, listed.payer_key, listed.payer_code, listed.reference, listed.details, listed.is_cancellation
    FROM
        jsonb_to_recordset(%(transfers)s) AS listed (
            transfer_id text, line integer, account text, booked_on date, amount numeric, payer_name text, payer_key text,
            payer_code text, reference text, details text, is_cancellation boolean
        )
    ON CONFLICT (transfer_id) DO NOTHING
    RETURNING transfer_id
)

UPDATE batch.bank_file
SET new_transfers = (SELECT count(*) FROM inserted)
WHERE sha256 = %(sha256)s
RETURNING new_transfers;

-- name: open_cancellations
-- The cancellations without their transfer, oldest first.
SELECT transfer_id FROM batch.bank_transfer
WHERE is_cancellation AND settled < amount AND cancelled_by IS null AND set_aside_at IS null
ORDER BY booked_on, transfer_id;

-- name: cancel_transfer
-- The newest transfer of the same account, payer and amount; one with the same reference comes first.
WITH cancelled AS (
    UPDATE batch.bank_transfer
    SET cancelled_by = %(cancellation)s, doubt = null
    WHERE
        transfer_id = (
            SELECT transfer.transfer_id
            FROM batch.bank_transfer AS transfer
            INNER JOIN batch.bank_transfer AS cancellation
                ON
                    transfer.account = cancellation.account AND transfer.amount = cancellation.amount
                    AND transfer.payer_key = cancellation.payer_key AND transfer.payer_code = cancellation.payer_code
                    AND transfer.booked_on <= cancellation.booked_on
            WHERE
                cancellation.transfer_id = %(cancellation)s AND NOT transfer.is_cancellation
                AND transfer.cancelled_by IS null AND transfer.set_aside_at IS null
            ORDER BY transfer.reference = cancellation.reference DESC, transfer.booked_on DESC, transfer.transfer_id DESC
            LIMIT 1
        )
    RETURNING transfer_id
)

UPDATE batch.bank_transfer AS cancellation
SET settled = cancellation.amount, doubt = null
FROM cancelled
WHERE cancellation.transfer_id = %(cancellation)s
RETURNING cancelled.transfer_id;

-- name: load_open_transfers
-- In the order of arrival. An earlier file may have the same transfer with another reference, because a bank's formats differ.
SELECT
    transfer.transfer_id, transfer.booked_on, transfer.amount - transfer.settled AS amount, transfer.payer_key,
    transfer.payer_code, transfer.was_taken_back, file.run_on AS imported_on,
    exists(
        SELECT FROM batch.bank_transfer AS earlier
        INNER JOIN batch.bank_file AS its_file ON earlier.sha256 = its_file.sha256
        WHERE
            earlier.payer_key = transfer.payer_key AND earlier.amount = transfer.amount
            AND earlier.payer_code = transfer.payer_code AND earlier.account = transfer.account
            AND earlier.booked_on = transfer.booked_on AND its_file.imported_at < file.imported_at
            AND earlier.cancelled_by IS null AND NOT earlier.is_cancellation
    ) AS is_repeated
FROM batch.bank_transfer AS transfer
INNER JOIN batch.bank_file AS file ON transfer.sha256 = file.sha256
WHERE
    transfer.settled < transfer.amount AND transfer.cancelled_by IS null AND transfer.set_aside_at IS null
    AND NOT transfer.is_cancellation
ORDER BY transfer.booked_on, transfer.sha256, transfer.line, transfer.transfer_id;

-- name: payments_of_cancelled
-- The payments of transfers that the bank cancelled.
SELECT payment.transfer_id, payment.payment_id, payment.tenant_id, invoice.number, payment.amount
FROM batch.bank_transfer AS transfer
INNER JOIN batch.payment ON transfer.transfer_id = payment.transfer_id
INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
WHERE transfer.cancelled_by IS NOT null AND payment.reversed_at IS null
ORDER BY payment.transfer_id, payment.payment_id;

-- name: load_unpaid
-- The open invoices in yen, with the first possible payment day.
SELECT invoice.tenant_id, invoice.number, invoice.open_amount, payable.first_issued_on AS earliest, invoice.due_on
FROM batch.invoice
INNER JOIN batch.payable ON invoice.invoice_id = payable.invoice_id
WHERE
    invoice.kind = 'invoice' AND invoice.number IS NOT null AND invoice.status = 'finalized' AND NOT invoice.credited
    AND invoice.open_amount > 0 AND invoice.currency = 'JPY';

-- name: load_payers
-- A payer is no longer sure if a user has since reversed a payment of its transfer, and the tenant has no other payment of it. A
-- payer known only from such a mistake is left out.
SELECT payer.tenant_id, payer.payer_key, payer.payer_code, mistake.entered_at IS null AS is_sure
FROM batch.payer
CROSS JOIN
    LATERAL (
        SELECT min(taken_back.entered_at) AS entered_at
        FROM (
            SELECT min(payment.entered_at) AS entered_at FROM batch.bank_transfer AS transfer
            INNER JOIN batch.payment ON transfer.transfer_id = payment.transfer_id
            WHERE
                transfer.payer_key = payer.payer_key AND transfer.payer_code = payer.payer_code
                AND transfer.was_taken_back AND transfer.cancelled_by IS null AND payment.tenant_id = payer.tenant_id
            GROUP BY transfer.transfer_id
            HAVING every(payment.reversed_at IS NOT null) AND max(payment.reversed_at) > payer.confirmed_at
        ) AS taken_back
    ) AS mistake
WHERE
    mistake.entered_at IS null OR payer.known_since < mistake.entered_at
    OR EXISTS (
        SELECT FROM batch.bank_transfer AS transfer
        INNER JOIN batch.payment ON transfer.transfer_id = payment.transfer_id
        WHERE
            transfer.payer_key = payer.payer_key AND transfer.payer_code = payer.payer_code
            AND payment.tenant_id = payer.tenant_id AND payment.reversed_at IS null
    );

-- name: load_entered_payments
-- The yen payments that users entered since a day and that belong to no transfer.
SELECT payment.payment_id, payment.tenant_id, invoice.number, payment.paid_on, payment.amount
FROM batch.payment
INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
WHERE
    payment.kind = 'payment' AND payment.source IN ('operation', 'file') AND payment.transfer_id IS null
    AND payment.reversed_at IS null AND payment.currency = 'JPY' AND payment.paid_on >= %(since)s
ORDER BY payment.paid_on, invoice.number, payment.payment_id;

-- name: delete_all_choices
DELETE FROM batch.transfer_choice;

-- name: insert_choices
-- The result of a matching.
INSERT INTO batch.transfer_choice (
    transfer_id, choice, part, tenant_id, number, paid_on, amount, fee, payment_id, is_automatic
)
SELECT
    listed.transfer_id, listed.choice, listed.part, listed.tenant_id, listed.number, transfer.booked_on, listed.amount,
    listed.fee, listed.payment_id, listed.is_automatic
FROM
    jsonb_to_recordset(%(choices)s)
        AS listed (
            transfer_id text, choice integer, part integer, tenant_id text, number text, amount numeric, fee numeric,
            payment_id text, is_automatic boolean
        )
INNER JOIN batch.bank_transfer AS transfer ON listed.transfer_id = transfer.transfer_id;

-- name: write_doubts
UPDATE batch.bank_transfer AS transfer
SET doubt = listed.doubt
FROM unnest(%(transfer_ids)s::text[], %(doubts)s::text[]) AS listed (transfer_id, doubt)
WHERE transfer.transfer_id = listed.transfer_id AND transfer.doubt IS DISTINCT FROM listed.doubt;

-- name: delete_reminder_holds
DELETE FROM batch.reminder_hold;

-- name: insert_reminder_holds
INSERT INTO batch.reminder_hold (number, tenant_id, held_until, transfers)
SELECT listed.number, listed.tenant_id, listed.held_until, listed.transfers
FROM
    jsonb_to_recordset(%(holds)s) AS listed (number text, tenant_id text, held_until date, transfers text[]);

-- name: automatic_choices
-- The automatic payments of the transaction's tenants. With payment_id: the bank cancelled the payment's transfer.
SELECT transfer_id, tenant_id, number, paid_on, amount, fee, payment_id
FROM batch.transfer_choice
WHERE is_automatic
ORDER BY transfer_id, part;

-- name: delete_choices
DELETE FROM batch.transfer_choice
WHERE transfer_id = any(%(transfer_ids)s);

-- name: find_transfers
SELECT
    transfer_id, booked_on, amount, amount - settled AS rest, payer_name, payer_key, payer_code, is_cancellation,
    set_aside_at IS NOT null AS is_set_aside, cancelled_by IS NOT null AS is_cancelled, doubt
FROM batch.bank_transfer
WHERE transfer_id = any(%(transfer_ids)s);

-- name: load_choices
SELECT transfer_id, choice, tenant_id, number, paid_on, amount, fee, payment_id
FROM batch.transfer_choice
WHERE transfer_id = any(%(transfer_ids)s)
ORDER BY transfer_id, choice, part;

-- name: paid_tenants
-- The tenants to which an import may give a payment, or take one from.
SELECT tenant_id FROM batch.invoice
WHERE
    kind = 'invoice' AND number IS NOT null AND status = 'finalized' AND NOT credited
    AND open_amount > 0 AND currency = 'JPY'
UNION
SELECT tenant_id FROM batch.payment
WHERE transfer_id IS NOT null AND reversed_at IS null AND paid_on >= %(since)s;

-- name: link_payment
-- The entered payment is this transfer. No row: it is reversed, or it belongs to another transfer.
UPDATE batch.payment
SET transfer_id = %(transfer_id)s
WHERE payment_id = %(payment_id)s AND reversed_at IS null AND transfer_id IS null
RETURNING payment_id;

-- name: payments_of_transfers
-- The payments of the transaction's tenants for these transfers, including reversed ones.
SELECT
    payment.payment_id, payment.invoice_id, payment.tenant_id, invoice.number, payment.reference, payment.paid_on,
    payment.amount, payment.currency, payment.method, payment.kind, payment.reversed_at, payment.reversal_execution_id,
    payment.transfer_id, payment.execution_id
FROM batch.payment
INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
WHERE payment.transfer_id = any(%(transfer_ids)s)
ORDER BY payment.entered_at, payment.payment_id;

-- name: remember_payers
-- The payers of these transfers, for the tenants with payments by this run. A transfer with a failed tenant is left out; its
-- payer would be sure for the others.
INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
SELECT DISTINCT ON (payment.tenant_id, transfer.payer_key, transfer.payer_code)
    payment.tenant_id, transfer.payer_key, transfer.payer_code,
    CASE WHEN starts_with(transfer.payer_key, 'account:') THEN transfer.account ELSE transfer.payer_name END,
    %(person)s, %(execution_id)s
FROM batch.bank_transfer AS transfer
INNER JOIN batch.payment ON transfer.transfer_id = payment.transfer_id
WHERE
    transfer.transfer_id = any(%(transfer_ids)s) AND transfer.settled = transfer.amount AND transfer.payer_key <> ''
    AND payment.reversed_at IS null AND (payment.execution_id = %(execution_id)s OR payment.source <> 'bank')
ON CONFLICT (tenant_id, payer_key, payer_code)
DO UPDATE SET confirmed_by = excluded.confirmed_by, confirmed_at = clock_timestamp(), execution_id = excluded.execution_id;

-- name: forget_payers
DELETE FROM batch.payer
WHERE payer_id = any(%(payer_ids)s);

-- name: count_doubts
-- The transfers that wait for a user.
SELECT doubt, count(*) AS transfers FROM batch.bank_transfer
WHERE settled < amount AND cancelled_by IS null AND set_aside_at IS null AND doubt IS NOT null
GROUP BY doubt
ORDER BY doubt;

-- name: set_aside
-- The rest of these transfers, and cancellations without their transfer.
UPDATE batch.bank_transfer
SET set_aside_reason = %(reason)s, set_aside_by = %(person)s, set_aside_at = clock_timestamp()
WHERE
    transfer_id = any(%(transfer_ids)s) AND settled < amount AND cancelled_by IS null AND set_aside_at IS null;

-- name: reopen
UPDATE batch.bank_transfer
SET set_aside_reason = null, set_aside_by = null, set_aside_at = null
WHERE transfer_id = any(%(transfer_ids)s) AND set_aside_at IS NOT null;

-- name: unrecorded
-- The automatic transfers whose tenant failed in this run.
SELECT DISTINCT choice.transfer_id
FROM batch.transfer_choice AS choice
INNER JOIN batch.tenant_outcome AS outcome ON choice.tenant_id = outcome.tenant_id
WHERE
    choice.is_automatic AND choice.payment_id IS null AND outcome.execution_id = %(execution_id)s AND outcome.status = 'failed';

-- name: open_transfers_on
-- Number and yen of the unassigned transfers among those that had arrived at the end of a day.
SELECT
    count(*) AS transfers,
    coalesce(sum(CASE WHEN is_cancellation THEN -1 ELSE 1 END * (amount - settled)), 0) AS yen
FROM batch.bank_transfer
WHERE settled < amount AND cancelled_by IS null AND set_aside_at IS null AND booked_on <= %(day)s;
