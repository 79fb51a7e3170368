-- name: write_host_billing
-- The application's row of each invoice has the invoice's id. Timestamps are 00:00:00 of the Japanese date, as in
-- SYS_TenantUsage. Only the application knows that an invoice is paid, so PAID is never overwritten. A draft that is voided
-- before it has a row gets none.
INSERT INTO batch.tenant_billing AS billing (
    id, tenant_id, billing_period_start, billing_period_end, billing_type, plan_id, plan_name, base_amount,
    usage_amount, additional_amount, discount_amount, subtotal_amount, tax_rate, tax_amount, total_amount,
    currency_code, usage_details, billing_status, invoice_number, invoice_date, due_date, notes, is_deleted,
    created_at, updated_at
)
SELECT
    invoice.invoice_id AS id,
    invoice.tenant_id,
    invoice.period_start::timestamp AS billing_period_start,
    invoice.period_end::timestamp AS billing_period_end,
    CASE invoice.kind WHEN 'credit' THEN 'CREDIT' ELSE 'MONTHLY' END AS billing_type,
    invoice.inputs #>> '{parts,-1,plan_part,plan}' AS plan_id,
    invoice.inputs #>> '{parts,-1,plan,name}' AS plan_name,
    lines.base_amount,
    lines.usage_amount,
    lines.additional_amount,
    -- A discount is a positive number here, and a negative one on a credit.
    -lines.discount_amount AS discount_amount,
    (invoice.content ->> 'subtotal')::numeric AS subtotal_amount,
    -- Empty if the invoice has several tax rates.
    CASE
        WHEN jsonb_array_length(invoice.content -> 'tax_totals') = 1
            THEN (invoice.content #>> '{tax_totals,0,rate_percent}')::numeric
    END AS tax_rate,
    (invoice.content ->> 'tax')::numeric AS tax_amount,
    invoice.total AS total_amount,
    invoice.currency AS currency_code,
    ((invoice.content -> 'lines') || coalesce(remarks.entries, '[]'))::text AS usage_details,
    CASE invoice.status WHEN 'draft' THEN 'CALCULATED' WHEN 'void' THEN 'CANCELLED' ELSE 'INVOICED' END AS billing_status,
    invoice.number AS invoice_number,
    invoice.issued_on::timestamp AS invoice_date,
    invoice.due_on::timestamp AS due_date,
    coalesce(
        invoice.void_reason,
        invoice.credit_reason,
        CASE WHEN invoice.status = 'draft' THEN invoice.hold_reason END,
        CASE WHEN invoice.total = 0 THEN '請求額 0 のため請求書番号なし' END
    ) AS notes,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM batch.invoice
CROSS JOIN
    LATERAL (
        SELECT
            coalesce(sum(line.amount) FILTER (WHERE line.kind = 'base_fee'), 0) AS base_amount,
            coalesce(sum(line.amount) FILTER (WHERE line.kind = 'usage'), 0) AS usage_amount,
            coalesce(sum(line.amount) FILTER (WHERE line.kind = 'commitment'), 0) AS additional_amount,
            coalesce(sum(line.amount) FILTER (WHERE line.kind LIKE '%%_discount'), 0) AS discount_amount
        FROM jsonb_to_recordset(invoice.content -> 'lines') AS line (kind text, amount numeric)
    ) AS lines
CROSS JOIN
    LATERAL (
        SELECT jsonb_agg(jsonb_build_object('kind', 'remark', 'description', remark.text) ORDER BY remark.position) AS entries
        FROM jsonb_array_elements_text(invoice.content -> 'remarks') WITH ORDINALITY AS remark (text, position)
    ) AS remarks
WHERE
    invoice.invoice_id = any(%(invoice_ids)s)
    AND (
        invoice.status <> 'void'
        OR EXISTS (
            SELECT FROM batch.tenant_billing AS known
            WHERE known.id = invoice.invoice_id
        )
    )
ON CONFLICT (id) DO UPDATE SET
    plan_id = excluded.plan_id,
    plan_name = excluded.plan_name,
    base_amount = excluded.base_amount,
    usage_amount = excluded.usage_amount,
    additional_amount = excluded.additional_amount,
    discount_amount = excluded.discount_amount,
    subtotal_amount = excluded.subtotal_amount,
    tax_rate = excluded.tax_rate,
    tax_amount = excluded.tax_amount,
    total_amount = excluded.total_amount,
    currency_code = excluded.currency_code,
    usage_details = excluded.usage_details,
    billing_status = CASE
        WHEN upper(billing.billing_status) = 'PAID' THEN billing.billing_status
        ELSE excluded.billing_status
    END,
    invoice_number = excluded.invoice_number,
    invoice_date = excluded.invoice_date,
    due_date = excluded.due_date,
    notes = excluded.notes,
    updated_at = excluded.updated_at;

-- name: queue_notifications
-- One notification per invoice: a second request for the same invoice changes nothing. BATCH-019-01 sends it.
INSERT INTO batch.tenant_notification (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body,
    message_format, send_status, send_attempts, scheduled_at, priority_level, is_deleted, created_at,
    updated_at
)
SELECT
    letter.notification_id AS id,
    letter.tenant_id,
    'EMAIL' AS notification_type,
    'BILLING_CONTACT' AS recipient_type,
    letter.recipient_address,
    letter.subject,
    letter.message_body,
    'TEXT' AS message_format,
    'PENDING' AS send_status,
    0 AS send_attempts,
    %(scheduled_at)s,
    'HIGH' AS priority_level,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM
    unnest(
        %(notification_ids)s::text[],
        %(tenant_ids)s::text[],
        %(addresses)s::text[],
        %(subjects)s::text[],
        %(bodies)s::text[]
    ) AS letter (notification_id, tenant_id, recipient_address, subject, message_body)
ON CONFLICT (id) DO NOTHING;

-- name: withdraw_notifications
-- Withdraw the letter about a voided invoice, unless it is already being sent.
UPDATE batch.tenant_notification
SET is_deleted = true, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = any(%(notification_ids)s) AND upper(send_status) = 'PENDING';
