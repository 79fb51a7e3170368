-- name: find_tenant
-- Acts as batch_platform, for tenants of any status. A matching tenant code takes precedence over a matching id.
SELECT tenant_id
FROM batch.all_tenant
WHERE %(code)s IN (tenant_code, tenant_id)
ORDER BY tenant_code = %(code)s DESC, tenant_id
LIMIT 1;

-- name: knows_tenant
-- True if the transaction's tenant exists. A deleted tenant's invoices remain.
SELECT EXISTS (SELECT FROM batch.tenant) OR EXISTS (SELECT FROM batch.invoice);

-- name: numbers_from_before
-- The numbers in the application's table; no row if an invoice of this schema has a number. One statement, to exclude invoices
-- that another run issues now.
SELECT array(SELECT invoice_number FROM batch.all_invoice_number) AS numbers
WHERE
    NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE number IS NOT null
    );

-- name: begin_numbers
INSERT INTO batch.invoice_counter (series, billing_month, last_number)
SELECT series, billing_month, last_number
FROM unnest(%(series)s::text[], %(months)s::date[], %(last_numbers)s::integer[]) AS known (series, billing_month, last_number)
WHERE
    NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE number IS NOT null
    )
ORDER BY series, billing_month
ON CONFLICT (series, billing_month) DO NOTHING;

-- name: find_invoice
-- By number, by id, or as the live invoice of a tenant's month, with its newest document.
SELECT
    invoice.invoice_id, invoice.tenant_id, invoice.issued_on,
    CASE WHEN newest.revision IS null THEN invoice.leaves_on ELSE newest.leaves_on END AS leaves_on,
    invoice.due_on,
    coalesce(newest.content, invoice.content) AS content,
    invoice.inputs, invoice.input_hash, invoice.execution_id,
    state.kind, state.status, state.number, state.total, state.credited, state.credited_total, state.paid_total,
    state.fee_total, state.written_off_total, state.open_amount, state.is_paid, state.is_carried, state.is_stopped,
    state.corrected_by
FROM batch.invoice
INNER JOIN batch.invoice_state AS state ON invoice.invoice_id = state.invoice_id
LEFT JOIN LATERAL (
    SELECT corrected.revision, corrected.content, corrected.leaves_on
    FROM batch.invoice_revision AS corrected
    WHERE corrected.invoice_id = invoice.invoice_id
    ORDER BY corrected.revision DESC
    LIMIT 1
) AS newest ON true
WHERE
    invoice.number = %(number)s
    OR invoice.invoice_id = %(invoice_id)s
    OR (
        invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND invoice.kind = 'invoice'
        AND invoice.status <> 'void' AND NOT invoice.credited
    );

-- name: voided_by_run
SELECT number
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND status = 'void'
    AND voided_by = %(execution_id)s
ORDER BY number DESC
LIMIT 1;

-- name: save_drafts
-- A tenant has one live invoice per month. A new draft replaces a draft. Other invoices stay, and their tenants have no row in
-- the result.
INSERT INTO batch.invoice AS invoice (
    invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash,
    hold_reason, again_reason, execution_id
)
SELECT
    gen_random_uuid()::text AS invoice_id,
    draft.tenant_id,
    'invoice' AS kind,
    %(period_start)s,
    %(period_end)s,
    draft.currency, draft.total, draft.content, draft.inputs, draft.input_hash, draft.hold_reason,
    %(again_reason)s,
    %(execution_id)s
FROM
    jsonb_to_recordset(%(drafts)s) AS draft (
        tenant_id text, currency text, total numeric, content jsonb, inputs jsonb, input_hash text,
        hold_reason text
    )
ORDER BY draft.tenant_id
ON CONFLICT (tenant_id, period_start) WHERE kind = 'invoice' AND status <> 'void' AND NOT credited DO UPDATE
    SET
        currency = excluded.currency, total = excluded.total, content = excluded.content,
        inputs = excluded.inputs, input_hash = excluded.input_hash, hold_reason = excluded.hold_reason,
        again_reason = coalesce(excluded.again_reason, invoice.again_reason),
        execution_id = excluded.execution_id
    WHERE invoice.status = 'draft'
RETURNING tenant_id, invoice_id;

-- name: renew_hold_reason
UPDATE batch.invoice SET hold_reason = %(hold_reason)s
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND status = 'draft'
    AND input_hash = %(input_hash)s;

-- name: choose_joins
-- Only a merge join always returns its rows in the order of the joined column.
SELECT set_config('enable_nestloop', %(others)s, true), set_config('enable_hashjoin', %(others)s, true);

-- name: find_local_stack
-- The mark of a database that the local stack created. Roles without rights on the application's tables may read it.
SELECT 1
FROM pg_description AS mark
INNER JOIN pg_class AS marked ON mark.objoid = marked.oid
WHERE
    mark.classoid = 'pg_class'::regclass
    AND marked.relname = 'MST_Tenant'
    AND marked.relnamespace = 'public'::regnamespace
    AND mark.objsubid = 0
    AND strpos(mark.description, 'made by the local stack of skill-report-batches') > 0;

-- name: finalize_invoices
-- A trigger assigns the numbers in the order of the join: by tenant. It locks the counter's row until the transaction ends.
-- Another trigger sets booked_on from accrued_on. An invoice's service is completed on the last day of its plans, otherwise of
-- its one-off lines.
UPDATE batch.invoice
SET
    status = 'finalized',
    issued_on = given.issued_on,
    leaves_on = given.leaves_on,
    due_on = given.due_on,
    accrued_on = CASE
        WHEN %(books_period_end)s AND invoice.kind = 'invoice'
            THEN
                coalesce(
                    (
                        SELECT max((part.value #>> '{plan_part,part,end}')::date)
                        FROM jsonb_array_elements(invoice.inputs -> 'parts') AS part
                    ),
                    (
                        SELECT max((extra.value ->> 'charged_on')::date)
                        FROM jsonb_array_elements(invoice.inputs -> 'extra_charges') AS extra
                    ),
                    invoice.period_end
                )
        ELSE given.issued_on
    END,
    approved_by = given.approved_by
FROM
    unnest(
        %(tenant_ids)s::text[], %(issued_on)s::date[], %(leaves_on)s::date[], %(due_on)s::date[], %(approved_by)s::text[]
    ) AS given (tenant_id, issued_on, leaves_on, due_on, approved_by)
WHERE
    invoice.invoice_id = any(%(invoice_ids)s) AND invoice.tenant_id = given.tenant_id
    AND invoice.status = 'draft'
RETURNING invoice.invoice_id, invoice.number;

-- name: void_invoices
-- Locks the invoices in the order of their ids, so that two recalculations cannot deadlock. Also locks the application's rows: an
-- invoice that the application marks as paid at this moment is not voided, nor one with a recorded payment. The application may
-- have no row for a draft.
WITH live AS (
    SELECT invoice.invoice_id
    FROM batch.invoice
    WHERE
        invoice.invoice_id = any(%(invoice_ids)s) AND invoice.status <> 'void' AND NOT invoice.credited
        AND invoice.open_amount = invoice.total
        AND NOT EXISTS (
            SELECT FROM batch.extra_charge AS carried
            WHERE carried.carries_invoice_id = invoice.invoice_id
        )
    ORDER BY invoice.invoice_id
    FOR UPDATE
),

known AS (
    SELECT billing.id, billing.billing_status
    FROM live
    INNER JOIN batch.tenant_billing AS billing ON live.invoice_id = billing.id
    ORDER BY billing.id
    FOR UPDATE OF billing
)

UPDATE batch.invoice
SET status = 'void', void_reason = %(reason)s, voided_by = %(voided_by)s
FROM live
LEFT JOIN known ON live.invoice_id = known.id
WHERE invoice.invoice_id = live.invoice_id AND upper(coalesce(known.billing_status, '')) <> 'PAID'
RETURNING invoice.invoice_id;

-- name: lock_by_id
-- Serializes operations that void or credit the same invoice. The order of the ids prevents deadlocks.
SELECT FROM batch.invoice
WHERE invoice_id = any(%(invoice_ids)s)
ORDER BY invoice_id
FOR UPDATE;

-- name: load_credits
-- The final credit notes of an invoice, in the order of their numbers.
SELECT content, number, issued_on, due_on
FROM batch.invoice
WHERE credits_invoice_id = %(invoice_id)s AND kind = 'credit' AND status = 'finalized'
ORDER BY finalized_at, number;

-- name: insert_credit
INSERT INTO batch.invoice (
    invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash,
    credits_invoice_id, credit_reason, execution_id, entered_by, entry_execution_id
)
SELECT
    gen_random_uuid()::text AS invoice_id,
    tenant_id,
    'credit' AS kind,
    period_start,
    period_end,
    currency,
    %(total)s,
    %(content)s,
    inputs,
    input_hash,
    invoice_id AS credits_invoice_id,
    %(reason)s AS credit_reason,
    %(execution_id)s,
    %(entered_by)s,
    %(execution_id)s AS entry_execution_id
FROM batch.invoice
WHERE invoice_id = %(invoice_id)s
RETURNING invoice_id;

-- name: mark_credited
UPDATE batch.invoice SET credited_total = %(credited_total)s, credited = %(is_credited)s
WHERE invoice_id = %(invoice_id)s AND NOT credited;

-- name: corrected_by_run
-- The number of the invoice of a tenant's month that a run corrected, even before it was cleared.
SELECT invoice.number
FROM batch.invoice
INNER JOIN batch.invoice_revision AS corrected ON invoice.invoice_id = corrected.invoice_id
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s
    AND corrected.execution_id IN (SELECT batch.attempts_of(%(execution_id)s));

-- name: insert_revision
INSERT INTO batch.invoice_revision (
    invoice_id, revision, tenant_id, content, due_on, earlier_due_on, corrected_on, reason, entered_by, execution_id, leaves_on
)
VALUES (
    %(invoice_id)s, %(revision)s, %(tenant_id)s, %(content)s, %(due_on)s, %(earlier_due_on)s, %(corrected_on)s, %(reason)s,
    %(entered_by)s, %(execution_id)s, %(leaves_on)s
);

-- name: move_due_date
UPDATE batch.invoice SET due_on = %(due_on)s
WHERE invoice_id = %(invoice_id)s AND due_on <> %(due_on)s;
