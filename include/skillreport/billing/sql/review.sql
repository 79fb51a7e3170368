-- name: changed_invoices
-- Final invoices with a day that was closed after they were created: again, late, or as the last day of the month. For the
-- transaction's tenants, or as batch_platform for all; for one month, or for the months from ``since`` on. Unbilled days are
-- included, because the caller compares the figures.
WITH late AS MATERIALIZED (
    -- A day's time is the start of its transaction. Last days are closed shortly before the invoices are created, so a wider
    -- margin would find all.
    SELECT
        day.tenant_id,
        date_trunc('month', day.usage_date::timestamp)::date AS month_start,
        day.closed_at + CASE
            WHEN day.revision > 1 OR (day.closed_at AT TIME ZONE 'Asia/Tokyo')::date > day.usage_date + 1 THEN interval '1 day'
            ELSE interval '10 minutes'
        END AS written_by
    FROM batch.usage_day AS day
    WHERE
        day.usage_date >= %(since)s
        AND (
            day.revision > 1 OR (day.closed_at AT TIME ZONE 'Asia/Tokyo')::date > day.usage_date + 1
            OR extract(DAY FROM day.usage_date + 1) = 1
        )
    UNION ALL
    SELECT
        metered.tenant_id,
        date_trunc('month', metered.usage_date::timestamp)::date AS month_start,
        metered.recorded_at + interval '10 minutes' AS written_by
    FROM batch.metered_amount AS metered
    WHERE
        metered.usage_date >= %(since)s
        AND (
            metered.revision > 1 OR (metered.recorded_at AT TIME ZONE 'Asia/Tokyo')::date > metered.usage_date + 1
            OR extract(DAY FROM metered.usage_date + 1) = 1
        )
),

-- Materialized, to compare only the days of the few invoices with a late day.
suspect AS MATERIALIZED (
    SELECT
        invoice.invoice_id, invoice.tenant_id, invoice.content, invoice.inputs, invoice.number, invoice.issued_on,
        invoice.due_on, invoice.period_start, invoice.period_end
    FROM batch.invoice
    WHERE
        invoice.kind = 'invoice' AND invoice.status = 'finalized' AND NOT invoice.credited
        AND invoice.period_start = coalesce(%(period_start)s, invoice.period_start)
        AND EXISTS (
            SELECT FROM late
            WHERE
                late.tenant_id = invoice.tenant_id AND late.month_start = invoice.period_start
                AND late.written_by > invoice.finalized_at
        )
)

SELECT
    invoice.invoice_id, invoice.tenant_id, invoice.content, invoice.inputs, invoice.number, invoice.issued_on,
    invoice.due_on
FROM suspect AS invoice
WHERE
    EXISTS (
        SELECT FROM batch.usage_day AS day
        WHERE
            day.tenant_id = invoice.tenant_id
            AND day.usage_date BETWEEN invoice.period_start AND invoice.period_end
            AND NOT invoice.inputs -> 'usage_days'
            @> jsonb_build_array(jsonb_build_object('usage_date', day.usage_date, 'revision', day.revision))
    )
    OR EXISTS (
        SELECT FROM batch.metered_amount AS metered
        WHERE
            metered.tenant_id = invoice.tenant_id
            AND metered.usage_date BETWEEN invoice.period_start AND invoice.period_end
            AND NOT coalesce(invoice.inputs -> 'metered', '[]') @> jsonb_build_array(
                jsonb_build_object(
                    'usage_date', metered.usage_date, 'meter', metered.meter, 'amount', metered.amount::text,
                    'events', metered.events
                )
            )
    )
ORDER BY invoice.period_start, invoice.tenant_id;

-- name: usage_of_month
SELECT usage_date, active_users, storage_bytes, api_calls, reports_generated, revision
FROM batch.usage_day
WHERE tenant_id = %(tenant_id)s AND usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY usage_date;

-- name: metered_of_month
SELECT usage_date, meter, amount, events, currency
FROM batch.metered_amount
WHERE tenant_id = %(tenant_id)s AND usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY usage_date, meter;

-- name: credited_amounts
-- The amounts that the final credit notes took from an invoice per category, as numbers below 0.
SELECT total.category, sum(total.taxable_amount) AS amount
FROM batch.invoice AS credit
CROSS JOIN
    LATERAL jsonb_to_recordset(credit.content -> 'tax_totals') AS total (category text, taxable_amount numeric)
WHERE credit.credits_invoice_id = %(invoice_id)s AND credit.kind = 'credit' AND credit.status = 'finalized'
GROUP BY total.category;

-- name: carried_amounts
SELECT tax_category, sum(quantity * unit_amount) AS amount
FROM batch.extra_charge
WHERE carries_invoice_id = %(invoice_id)s
GROUP BY tax_category;

-- name: vanished_tenants
-- Acts as batch_platform. Deleted tenants with closed days that no invoice bills. The recursion jumps through the index, because
-- reading all days would take seconds.
WITH RECURSIVE listed (tenant_id) AS (
    SELECT min(tenant_id) FROM batch.usage_day
    UNION ALL
    SELECT (
        SELECT min(day.tenant_id) FROM batch.usage_day AS day
        WHERE day.tenant_id > listed.tenant_id
    )
    FROM listed
    WHERE listed.tenant_id IS NOT null
)

SELECT
    listed.tenant_id,
    month.month_start,
    month.days,
    month.most_users
FROM listed
CROSS JOIN
    LATERAL (
        SELECT
            date_trunc('month', day.usage_date::timestamp)::date AS month_start,
            count(*) AS days,
            max(day.active_users) AS most_users
        FROM batch.usage_day AS day
        WHERE day.tenant_id = listed.tenant_id AND day.usage_date BETWEEN %(since)s AND %(period_end)s
        GROUP BY month_start
    ) AS month
WHERE
    NOT EXISTS (
        SELECT FROM batch.all_tenant AS tenant
        WHERE tenant.tenant_id = listed.tenant_id
    )
    AND NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE
            invoice.tenant_id = listed.tenant_id AND invoice.period_start = month.month_start
            AND invoice.kind = 'invoice' AND invoice.status = 'finalized'
    )
ORDER BY listed.tenant_id, month.month_start;

-- name: idle_contracts
-- Acts as batch_platform. Inactive tenants whose contract has begun and has no end, without usage and without an invoice in the
-- month. The run does not process them.
SELECT tenant.tenant_code, tenant.status, coalesce(change.plan, tenant.subscription_plan) AS plan, tenant.contract_start
FROM batch.all_tenant AS tenant
LEFT JOIN LATERAL (
    SELECT history.plan, true AS is_known
    FROM batch.plan_change AS history
    WHERE history.tenant_id = tenant.tenant_id AND history.effective_from <= %(period_end)s
    ORDER BY history.effective_from DESC
    LIMIT 1
) AS change ON true
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL', 'DELETED')
    AND tenant.contract_start <= %(period_end)s AND tenant.contract_end IS null
    AND NOT (coalesce(change.is_known, false) AND change.plan IS null)
    AND NOT EXISTS (
        SELECT FROM batch.usage_day AS day
        WHERE day.tenant_id = tenant.tenant_id AND day.usage_date BETWEEN %(period_start)s AND %(period_end)s
    )
    AND NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE
            invoice.tenant_id = tenant.tenant_id AND invoice.period_start = %(period_start)s
            AND invoice.kind = 'invoice' AND invoice.status <> 'void'
    )
ORDER BY tenant.tenant_code;

-- name: forgotten_lines
-- Acts as batch_platform. One-off lines in no draft and no final invoice: entered too late, or without an invoice.
SELECT
    coalesce(tenant.tenant_code, extra.tenant_id) AS tenant_code, extra.charged_on, extra.description,
    extra.quantity * extra.unit_amount AS amount, extra.currency, extra.entered_by
FROM batch.extra_charge AS extra
LEFT JOIN batch.all_tenant AS tenant ON extra.tenant_id = tenant.tenant_id
WHERE
    extra.charged_on <= %(period_end)s
    AND NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE
            invoice.tenant_id = extra.tenant_id
            AND invoice.period_start = date_trunc('month', extra.charged_on::timestamp)::date
            AND invoice.kind = 'invoice' AND invoice.status <> 'void'
            AND invoice.inputs -> 'extra_charges'
            @> jsonb_build_array(jsonb_build_object('extra_charge_id', extra.extra_charge_id))
    )
ORDER BY tenant_code, extra.charged_on, extra.extra_charge_id;

-- name: held_invoices
-- Acts as batch_platform. Drafts of earlier months that wait for an approval or a correction.
SELECT
    invoice.content ->> 'tenant_code' AS tenant_code, invoice.period_start, invoice.total, invoice.currency, invoice.hold_reason
FROM batch.invoice
WHERE
    invoice.kind = 'invoice' AND invoice.status = 'draft' AND invoice.total <> 0
    AND invoice.period_start >= %(since)s AND invoice.period_start < %(period_start)s
ORDER BY invoice.period_start, tenant_code;

-- name: credits_to_approve
-- Acts as batch_platform. The credit notes and write-offs that wait for another user's approval.
SELECT
    content ->> 'tenant_code' AS tenant_code, period_start, total, currency, credit_reason, entered_by, created_at AS entered_at
FROM batch.invoice
WHERE kind = 'credit' AND status = 'draft' AND period_start BETWEEN %(since)s AND %(period_start)s
UNION ALL
SELECT
    invoice.content ->> 'tenant_code' AS tenant_code, invoice.period_start, -written.amount AS total, invoice.currency,
    '貸倒れ ' || written.evidence AS credit_reason, written.entered_by, written.entered_at
FROM batch.waiting_write_off AS written
INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
WHERE written.decided_in IS null AND invoice.period_start BETWEEN %(since)s AND %(period_start)s
ORDER BY period_start, tenant_code, entered_at;

-- name: months_without_a_run
-- Acts as batch_platform. Earlier months with closed usage and without any invoice.
SELECT month.month_start::date AS month_start
FROM
    generate_series(%(since)s::timestamp, %(period_start)s::timestamp - interval '1 day', interval '1 month') AS month (
        month_start
    )
WHERE
    EXISTS (
        SELECT FROM batch.usage_day AS day
        WHERE
            day.usage_date = (month.month_start + interval '1 month' - interval '1 day')::date
            AND extract(DAY FROM day.usage_date + 1) = 1  -- the condition of the index usage_day_late
    )
    AND NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE invoice.period_start = month.month_start::date
    )
ORDER BY month_start;

-- name: outcomes_for_attention
SELECT coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code, remark.text
FROM batch.tenant_outcome AS outcome
CROSS JOIN LATERAL jsonb_array_elements_text(outcome.details -> 'attention') AS remark (text)
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s AND outcome.details ? 'attention'
ORDER BY tenant_code, remark.text;

-- name: approved_alone
-- Acts as batch_platform. Entries that their author approved in a month (Asia/Tokyo), with the amount, or the number of a change.
-- Such an approver's name ends with ``mark`` (second_person.ALONE). Others' entries that the same act approved are excluded.
SELECT
    coalesce(tenant.tenant_code, entry.tenant_id) AS tenant_code, entry.kind, entry.entry_text, entry.amount, entry.currency,
    entry.approved_by
FROM (
    SELECT
        tenant_id, 'line' AS kind, description AS entry_text, quantity * unit_amount AS amount, currency, entered_by,
        approved_by, approved_at
    FROM batch.extra_charge
    UNION ALL
    SELECT
        tenant_id, 'credit' AS kind, concat_ws(' ', number, credit_reason), total, currency, entered_by, approved_by,
        finalized_at
    FROM batch.invoice
    WHERE kind = 'credit' AND status = 'finalized'
    UNION ALL
    SELECT
        written.tenant_id, 'write_off' AS kind, concat_ws(' ', invoice.number, written.evidence), written.amount,
        invoice.currency, written.entered_by, written.approved_by, adjustment.entered_at
    FROM batch.waiting_write_off AS written
    INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
    INNER JOIN batch.adjustment
        ON
            written.invoice_id = adjustment.invoice_id AND written.decided_in = adjustment.execution_id
            AND adjustment.kind = 'write_off'
    UNION ALL
    SELECT
        revision.tenant_id, 'correction' AS kind, invoice.number, invoice.total, invoice.currency,
        revision.entered_by, revision.approved_by, revision.approved_at
    FROM batch.invoice_revision AS revision
    INNER JOIN batch.invoice ON revision.invoice_id = invoice.invoice_id
    UNION ALL
    SELECT
        tenant_id, kind, CASE kind WHEN 'exchange_rate' THEN after ->> 'currency' END,
        coalesce(after ->> 'value', after ->> 'yen_per_unit')::numeric,
        CASE
            WHEN kind = 'exchange_rate' THEN 'JPY'
            WHEN after ->> 'kind' = 'percentage' THEN '%%'
            ELSE after ->> 'currency'
        END,
        entered_by, decided_by, decided_at
    FROM batch.contract_change
    WHERE status = 'applied' AND kind <> 'import'
) AS entry
LEFT JOIN batch.all_tenant AS tenant ON entry.tenant_id = tenant.tenant_id
WHERE
    batch.person_key(entry.approved_by) = batch.person_key(entry.entered_by || %(mark)s)
    AND (entry.approved_at AT TIME ZONE 'Asia/Tokyo')::date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY entry.approved_at, tenant_code, entry.kind;

-- name: texts_without_approval
-- Acts as batch_platform. Free texts for customers that no other user has approved: those of the month's final lines, and those
-- that were entered or sent in the month (Asia/Tokyo). Corrections always wait. An author's approval of a draft also stamps the
-- own lines, with ``mark`` (second_person.ALONE) or without.
SELECT coalesce(tenant.tenant_code, written.tenant_id) AS tenant_code, written.label, written.free_text, written.author
FROM (
    SELECT
        extra.tenant_id, '個別明細' AS label, concat_ws(' / ', extra.description, nullif(extra.unit, '')) AS free_text,
        extra.entered_by AS author, extra.charged_on AS written_on
    FROM batch.extra_charge AS extra
    INNER JOIN batch.invoice AS final
        ON
            extra.tenant_id = final.tenant_id AND final.kind = 'invoice' AND final.status = 'finalized'
            AND final.period_start = %(period_start)s
            AND final.inputs -> 'extra_charges'
            @> jsonb_build_array(jsonb_build_object('extra_charge_id', extra.extra_charge_id))
    WHERE
        extra.carries_invoice_id IS null
        AND (
            extra.approved_by IS null
            OR NOT extra.waits
            AND batch.person_key(extra.approved_by)
            IN (batch.person_key(extra.entered_by), batch.person_key(extra.entered_by || %(mark)s))
        )
    UNION ALL
    SELECT
        tenant_id, CASE kind WHEN 'discount' THEN '割引' ELSE '注文番号' END,
        coalesce(after ->> 'order_number', after ->> 'name'), entered_by, (entered_at AT TIME ZONE 'Asia/Tokyo')::date
    FROM batch.contract_change
    WHERE
        status = 'applied' AND decided_by IS null AND kind IN ('discount', 'order_number')
        AND changed && '{name,order_number}'
    UNION ALL
    SELECT
        tenant_id, concat_ws(' ', '返還', number), credit_reason, entered_by, (finalized_at AT TIME ZONE 'Asia/Tokyo')::date
    FROM batch.invoice
    WHERE kind = 'credit' AND status = 'finalized' AND approved_by IS null
    UNION ALL
    SELECT
        invoice.tenant_id, concat_ws(' ', '取消', invoice.number), invoice.void_reason,
        coalesce(run.triggered_by, invoice.voided_by), (invoice.voided_at AT TIME ZONE 'Asia/Tokyo')::date
    FROM batch.invoice
    LEFT JOIN batch.execution_log AS run ON invoice.voided_by = run.execution_id
    WHERE invoice.kind = 'invoice' AND invoice.status = 'void' AND invoice.number IS NOT null
) AS written
LEFT JOIN batch.all_tenant AS tenant ON written.tenant_id = tenant.tenant_id
WHERE written.written_on BETWEEN %(period_start)s AND %(period_end)s AND written.free_text <> ''
ORDER BY tenant_code, written.label, written.free_text;
