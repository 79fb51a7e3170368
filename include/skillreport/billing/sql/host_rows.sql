-- name: write_host_billing
-- The application's row of an invoice has the invoice's id. Timestamps are 00:00:00 of the Japanese date, as in SYS_TenantUsage.
-- The row becomes PAID when recorded payments settle the invoice (marked_paid). The application's own PAID is never overwritten.
-- A draft that is voided without a row gets none.
INSERT INTO batch.tenant_billing AS billing (
    id, tenant_id, billing_period_start, billing_period_end, billing_type, plan_id, plan_name, base_amount,
    usage_amount, additional_amount, discount_amount, subtotal_amount, tax_rate, tax_amount, total_amount,
    currency_code, usage_details, billing_status, invoice_number, invoice_date, due_date, paid_date, payment_method,
    notes, is_deleted, created_at, updated_at
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
    -- A discount is positive here, and negative on a credit note.
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
    (coalesce(newest.lines, invoice.content -> 'lines') || coalesce(remarks.entries, '[]'))::text AS usage_details,
    CASE
        WHEN invoice.marked_paid THEN 'PAID'
        WHEN invoice.status = 'draft' THEN 'CALCULATED'
        WHEN invoice.status = 'void' THEN 'CANCELLED'
        ELSE 'INVOICED'
    END AS billing_status,
    invoice.number AS invoice_number,
    invoice.issued_on::timestamp AS invoice_date,
    invoice.due_on::timestamp AS due_date,
    CASE WHEN invoice.marked_paid THEN payments.paid_on END AS paid_date,
    CASE WHEN invoice.marked_paid THEN payments.method END AS payment_method,
    coalesce(
        invoice.void_reason,
        invoice.credit_reason,
        nullif(
            concat_ws(
                '。',
                credits.note,
                payments.note,
                CASE WHEN invoice.fee_total > 0 THEN format('手数料差額 %%s %%s', trim_scale(invoice.fee_total), invoice.currency) END,
                CASE
                    WHEN invoice.written_off_total > 0
                        THEN format('貸倒れ %%s %%s', trim_scale(invoice.written_off_total), invoice.currency)
                END
            ), ''
        ),
        CASE WHEN invoice.status = 'draft' THEN invoice.hold_reason END,
        '請求書 ' || (invoice.content #>> '{replaces,number}') || ' の差し替え',
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
            coalesce(sum(line.amount) FILTER (WHERE line.kind IN ('commitment', 'extra')), 0) AS additional_amount,
            coalesce(sum(line.amount) FILTER (WHERE line.kind LIKE '%%_discount'), 0) AS discount_amount
        FROM jsonb_to_recordset(invoice.content -> 'lines') AS line (kind text, amount numeric)
    ) AS lines
CROSS JOIN
    LATERAL (
        SELECT jsonb_agg(jsonb_build_object('kind', 'remark', 'description', remark.text) ORDER BY remark.position) AS entries
        FROM jsonb_array_elements_text(invoice.content -> 'remarks') WITH ORDINALITY AS remark (text, position)
    ) AS remarks
LEFT JOIN LATERAL (
    -- The lines with corrected texts and the invoice's amounts.
    SELECT corrected.content -> 'lines' AS lines
    FROM batch.invoice_revision AS corrected
    WHERE corrected.invoice_id = invoice.invoice_id
    ORDER BY corrected.revision DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT
        '返還請求書 ' || string_agg(
            format('%%s（%%s、%%s %%s）', credit.number, credit.issued_on, -credit.total, credit.currency),
            '、' ORDER BY credit.number
        ) || CASE WHEN invoice.credited THEN 'で全額を返還済み' ELSE 'で一部を返還済み' END AS note
    FROM batch.invoice AS credit
    WHERE
        credit.credits_invoice_id = invoice.invoice_id AND credit.kind = 'credit' AND credit.status = 'finalized'
) AS credits ON invoice.credited OR invoice.credited_total <> 0
LEFT JOIN LATERAL (
    SELECT
        max(payment.paid_on)::timestamp AS paid_on,
        (array_agg(payment.method ORDER BY payment.paid_on DESC, payment.entered_at DESC))[1] AS method,
        CASE sign(invoice.open_amount)
            WHEN 1
                THEN
                    format(
                        '一部入金 %%s %%s（残り %%s %%s）', trim_scale(invoice.paid_total), invoice.currency,
                        trim_scale(invoice.open_amount), invoice.currency
                    )
            WHEN -1 THEN
                format(
                    '過入金 %%s %%s', trim_scale(-invoice.open_amount), invoice.currency
                )
        END AS note
    FROM batch.payment
    WHERE
        invoice.paid_total > 0 AND payment.invoice_id = invoice.invoice_id AND payment.kind = 'payment'
        AND payment.reversed_at IS null
) AS payments ON invoice.paid_total > 0
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
    -- excluded contains PAID if this product has set it.
    paid_date = CASE WHEN excluded.billing_status = 'PAID' THEN excluded.paid_date ELSE billing.paid_date END,
    payment_method = CASE WHEN excluded.billing_status = 'PAID' THEN excluded.payment_method ELSE billing.payment_method END,
    -- The application's note about the payment stays before the notes about credit notes and payments.
    notes = CASE
        WHEN upper(billing.billing_status) = 'PAID' AND excluded.billing_status <> 'PAID'
            THEN
                nullif(concat_ws(
                    '。',
                    nullif(
                        regexp_replace(billing.notes, '。?(返還請求書 CRN-|(一部入金|過入金|手数料差額|貸倒れ) [0-9]).*$', ''), ''
                    ),
                    excluded.notes
                ), '')
        ELSE excluded.notes
    END,
    updated_at = excluded.updated_at;
