-- name: lock_entries
-- Transactions that enter lines and credits of a tenant run one after the other.
SELECT pg_advisory_xact_lock(%(lock)s, hashtext(%(tenant_id)s));

-- name: entered_line
-- The line that a run has entered.
SELECT extra_charge_id FROM batch.extra_charge
WHERE tenant_id = %(tenant_id)s AND execution_id = %(execution_id)s;

-- name: equal_lines
-- The typed lines of the month with the same amount, of other runs. Lines that carry a difference are not typed.
SELECT charged_on, description AS text, entered_by, (entered_at AT TIME ZONE 'Asia/Tokyo')::date AS entered_on
FROM batch.extra_charge
WHERE
    tenant_id = %(tenant_id)s AND charged_on BETWEEN %(period_start)s AND %(period_end)s
    AND currency = %(currency)s AND quantity * unit_amount = %(amount)s AND carries_invoice_id IS null
    AND execution_id IS DISTINCT FROM %(execution_id)s
    AND (entered_at AT TIME ZONE 'Asia/Tokyo')::date >= %(since)s
ORDER BY entered_at DESC, extra_charge_id ASC;

-- name: equal_credits
-- The credit notes of the month with the same total, of other runs.
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
