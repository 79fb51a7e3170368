-- name: lock_tenants
-- Transactions that take this lock for the same tenants wait for each other. The tenants share 64 locks, because PostgreSQL's
-- lock table has room for 64 per connection (max_locks_per_transaction). The order prevents deadlocks.
SELECT
    CASE
        WHEN %(is_shared)s THEN pg_advisory_xact_lock_shared(%(lock)s, listed.number)
        ELSE pg_advisory_xact_lock(%(lock)s, listed.number)
    END
FROM (
    SELECT DISTINCT hashtext(tenant.tenant_id) & 63 AS number
    FROM unnest((SELECT batch.current_tenants())::text[]) AS tenant (tenant_id)
    ORDER BY number
) AS listed;

-- name: entered_line
SELECT waits AND approved_by IS null AS waits FROM batch.extra_charge
WHERE tenant_id = %(tenant_id)s AND execution_id = %(execution_id)s;

-- name: was_removed
SELECT content ->> 'description' AS description FROM batch.extra_charge_removal
WHERE tenant_id = %(tenant_id)s AND content ->> 'execution_id' = %(execution_id)s;

-- name: first_opened
-- An entirely cleared run is opened again, with the user of its first opening.
SELECT min(started_at) AS first_opened
FROM batch.execution_log
WHERE execution_id IN (SELECT batch.attempts_of(%(execution_id)s));

-- name: equal_lines
-- The typed lines of the month with the same amount, from other runs. Carried differences are not typed.
SELECT charged_on, description AS text, entered_by, (entered_at AT TIME ZONE 'Asia/Tokyo')::date AS entered_on
FROM batch.extra_charge
WHERE
    tenant_id = %(tenant_id)s AND charged_on BETWEEN %(period_start)s AND %(period_end)s
    AND currency = %(currency)s AND quantity * unit_amount = %(amount)s AND carries_invoice_id IS null
    AND execution_id IS DISTINCT FROM %(execution_id)s
    AND (entered_at AT TIME ZONE 'Asia/Tokyo')::date >= %(since)s
ORDER BY entered_at DESC, extra_charge_id ASC;

-- name: equal_credits
-- The credit notes of the month with the same total, from other runs.
SELECT
    number, credit_reason AS text, coalesce(entered_by, execution_id) AS entered_by,
    (created_at AT TIME ZONE 'Asia/Tokyo')::date AS entered_on
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'credit' AND status <> 'void'
    AND currency = %(currency)s AND total = %(total)s
    AND coalesce(entry_execution_id, execution_id) <> %(execution_id)s
    AND (created_at AT TIME ZONE 'Asia/Tokyo')::date >= %(since)s
ORDER BY created_at DESC, invoice_id ASC;

-- name: recurring_yen
-- The subtotals without one-off lines of the tenant's last finalised invoices, in yen at their own rates.
SELECT yen
FROM batch.recurring_yen
WHERE tenant_id = %(tenant_id)s AND yen IS NOT null
ORDER BY period_start DESC
LIMIT %(months)s;

-- name: entered_yen
-- A user's entries for a tenant's month that no other user has approved. Without a rate, the yen are unknown.
SELECT coalesce(sum(yen), 0) AS yen, coalesce(bool_or(yen IS null), false) AS is_unknown
FROM batch.entry_yen
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s
    AND batch.person_key(entered_by) = batch.person_key(%(person)s);

-- name: hold_line
UPDATE batch.extra_charge SET waits = true
WHERE extra_charge_id = %(extra_charge_id)s;

-- name: hold_credit
UPDATE batch.invoice SET hold_reason = %(hold_reason)s
WHERE invoice_id = %(invoice_id)s AND kind = 'credit' AND status = 'draft';

-- name: waiting_credits
-- The invoice's credit notes that wait for an approval, in the order of their entry.
SELECT invoice_id, entered_by, created_at, credit_reason, content
FROM batch.invoice
WHERE credits_invoice_id = %(invoice_id)s AND kind = 'credit' AND status = 'draft'
ORDER BY created_at, invoice_id;

-- name: renew_credit
-- The issued credit note belongs to the run that approves it.
UPDATE batch.invoice SET content = %(content)s, execution_id = %(execution_id)s
WHERE invoice_id = %(invoice_id)s AND kind = 'credit' AND status = 'draft';

-- name: withdraw_credit
UPDATE batch.invoice SET status = 'void', void_reason = %(reason)s, voided_by = %(execution_id)s
WHERE credits_invoice_id = any(%(entry_ids)s) AND kind = 'credit' AND status = 'draft'
RETURNING total, currency, credit_reason, entered_by;

-- name: withdraw_write_off
UPDATE batch.waiting_write_off
SET
    withdrawn_by = coalesce(nullif(%(person)s, ''), %(execution_id)s), decided_in = %(execution_id)s,
    withdrawal_reason = %(reason)s
WHERE invoice_id = any(%(entry_ids)s) AND decided_in IS null
RETURNING amount, entered_by;

-- name: waiting_write_off
-- The invoice's write-off that waits, or that this run entered or decided.
SELECT
    write_off_id, accrued_on, amount, fact, evidence, open_amount, entered_by, entered_at, execution_id, approved_by, decided_in
FROM batch.waiting_write_off
WHERE
    invoice_id = %(invoice_id)s
    AND (decided_in IS null OR %(execution_id)s IN (execution_id, decided_in));

-- name: insert_write_off
INSERT INTO batch.waiting_write_off (
    write_off_id, tenant_id, invoice_id, accrued_on, amount, fact, evidence, open_amount, entered_by, execution_id
)
SELECT
    gen_random_uuid()::text AS write_off_id, invoice.tenant_id, invoice.invoice_id,
    %(accrued_on)s, %(amount)s, %(fact)s, %(evidence)s, invoice.open_amount,
    %(entered_by)s, %(execution_id)s
FROM batch.invoice
WHERE invoice.invoice_id = %(invoice_id)s;

-- name: approve_write_off
UPDATE batch.waiting_write_off SET approved_by = %(approver)s, decided_in = %(execution_id)s
WHERE write_off_id = %(write_off_id)s;

-- name: credit_entered_by_run
SELECT number, status, hold_reason
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'credit'
    AND entry_execution_id = %(execution_id)s;

-- name: credits_decided_by_run
-- The credit notes of the tenant's month that a run approved or dropped.
SELECT number, total, currency, credit_reason, entered_by
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'credit'
    AND (
        (status = 'finalized' AND hold_reason IS NOT null AND execution_id = %(execution_id)s)
        OR (status = 'void' AND voided_by = %(execution_id)s)
    )
ORDER BY finalized_at, length(number), number, invoice_id;

-- name: waiting_of_month
-- The waiting entries of a tenant's month (lines, or all), with amounts without a sign.
SELECT description AS entry_text, abs(quantity * unit_amount) AS amount, currency, entered_by
FROM batch.extra_charge
WHERE
    tenant_id = %(tenant_id)s AND charged_on BETWEEN %(period_start)s AND %(period_end)s AND waits AND approved_by IS null
UNION ALL
SELECT credit_reason AS entry_text, abs(total) AS amount, currency, entered_by
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'credit' AND status = 'draft'
    AND NOT %(only_lines)s
UNION ALL
SELECT written.evidence AS entry_text, written.amount, invoice.currency, written.entered_by
FROM batch.waiting_write_off AS written
INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND written.decided_in IS null
    AND NOT %(only_lines)s
ORDER BY amount, entry_text;

-- name: own_lines_of_request
-- Acts as batch_platform. The tenants that a request's answer approves and whose month has its user's own lines that wait, or
-- that this answer approved.
SELECT DISTINCT item.tenant_code, item.tenant_id
FROM batch.approval_item AS item
INNER JOIN batch.extra_charge AS extra ON item.tenant_id = extra.tenant_id
WHERE
    item.request_id = %(request_id)s AND item.answer = 'approve'
    AND extra.charged_on BETWEEN %(period_start)s AND %(period_end)s
    AND extra.waits AND (extra.approved_by IS null OR item.result = 'approved')
    AND batch.person_key(extra.entered_by) = batch.person_key(item.answered_by)
ORDER BY item.tenant_code, item.tenant_id;

-- name: old_entries
SELECT kind, count(*) AS entries, min(entered_at) AS oldest
FROM batch.all_waiting_entry
WHERE entered_at < %(before)s
GROUP BY kind
ORDER BY oldest;
