-- name: enter_line
INSERT INTO batch.extra_charge (
    extra_charge_id, tenant_id, charged_on, description, quantity, unit, unit_amount, currency, tax_category,
    carries_invoice_id, entered_by, execution_id
)
VALUES (
    %(extra_charge_id)s, %(tenant_id)s, %(charged_on)s, %(description)s, %(quantity)s, %(unit)s, %(unit_amount)s,
    %(currency)s, %(tax_category)s, %(carries_invoice_id)s, %(entered_by)s, %(execution_id)s
)
ON CONFLICT (tenant_id, execution_id, description, tax_category) DO NOTHING;

-- name: lines_of_execution
SELECT charged_on, description, quantity, unit, unit_amount, currency, tax_category
FROM batch.extra_charge
WHERE tenant_id = %(tenant_id)s AND execution_id = %(execution_id)s
ORDER BY tax_category, description;

-- name: lines_named
-- The lines with this description or id, with the final invoice that contains the line.
SELECT
    extra.extra_charge_id, extra.charged_on, extra.description, final.invoice_id AS final_invoice_id, final.number
FROM batch.extra_charge AS extra
LEFT JOIN batch.invoice AS final
    ON
        extra.tenant_id = final.tenant_id
        AND final.period_start = date_trunc('month', extra.charged_on::timestamp)::date
        AND final.kind = 'invoice' AND final.status = 'finalized' AND NOT final.credited
        AND final.inputs -> 'extra_charges'
        @> jsonb_build_array(jsonb_build_object('extra_charge_id', extra.extra_charge_id))
WHERE
    extra.tenant_id = %(tenant_id)s AND %(named)s IN (extra.description, extra.extra_charge_id)
    AND extra.charged_on = coalesce(%(charged_on)s, extra.charged_on)
ORDER BY extra.charged_on, extra.extra_charge_id;

-- name: withdraw_line
WITH removed AS (
    DELETE FROM batch.extra_charge
    WHERE extra_charge_id = any(%(entry_ids)s)
    RETURNING *
)

INSERT INTO batch.extra_charge_removal (extra_charge_id, tenant_id, content, removed_by, execution_id)
SELECT
    removed.extra_charge_id,
    removed.tenant_id,
    to_jsonb(removed) AS content,
    %(person)s,
    %(execution_id)s
FROM removed
RETURNING content;

-- name: removed_lines
SELECT content FROM batch.extra_charge_removal
WHERE tenant_id = %(tenant_id)s AND execution_id = %(execution_id)s;

-- name: final_months
-- The months that no run bills: with a final invoice, or closed by a void or a full credit.
SELECT DISTINCT ON (invoice.period_start) invoice.period_start, invoice.number, invoice.closes_month AS is_closed
FROM batch.invoice
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start >= %(since)s AND invoice.kind = 'invoice'
    AND invoice.finalized_at IS NOT null
    AND NOT EXISTS (
        SELECT FROM batch.invoice AS draft
        WHERE
            draft.tenant_id = invoice.tenant_id AND draft.period_start = invoice.period_start AND draft.kind = 'invoice'
            AND draft.status = 'draft'
    )
ORDER BY invoice.period_start ASC, invoice.closes_month ASC, invoice.finalized_at DESC;

-- name: currency_of
SELECT coalesce(profile.currency, tenant.currency_code)
FROM batch.tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
WHERE tenant.tenant_id = %(tenant_id)s;

-- name: language_of
SELECT coalesce(max(language), 'ja')
FROM batch.billing_profile
WHERE tenant_id = %(tenant_id)s;

-- name: lock_month
-- Serializes operations on the invoice of a month.
SELECT FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND status <> 'void' AND NOT credited
FOR UPDATE;

-- name: approve_others_lines
-- Other users' waiting lines of the month from before the user's run was opened.
UPDATE batch.extra_charge
SET approved_by = %(approver)s, approved_at = now()
WHERE
    tenant_id = %(tenant_id)s AND charged_on BETWEEN %(period_start)s AND %(period_end)s
    AND waits AND approved_by IS null AND batch.person_key(entered_by) <> batch.person_key(%(approver)s)
    AND entered_at <= coalesce(%(entered_before)s::timestamptz, 'infinity')
RETURNING charged_on, description, entered_by;

-- name: approve_lines
UPDATE batch.extra_charge
SET approved_by = %(approved_by)s, approved_at = now()
WHERE extra_charge_id = any(%(extra_charge_ids)s) AND approved_by IS null;
