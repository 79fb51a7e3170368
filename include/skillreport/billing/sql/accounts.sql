-- name: load_accounts
-- One row per tenant of the transaction: the account data for the month's invoice, the month's invoice and the previous total.
-- Usage days and metered amounts are read separately. Deleted tenants have no row, because their printed data are gone.
SELECT
    tenant.tenant_id,
    tenant.tenant_code,
    tenant.tenant_name,
    tenant.status AS tenant_status,
    tenant.subscription_plan,
    coalesce(profile.currency, tenant.currency_code) AS currency,
    coalesce(profile.language, 'ja') AS language,
    coalesce(profile.country, tenant.country) AS country,
    profile.tax_category,
    profile.due_months,
    profile.due_day,
    coalesce(tenant.contract_start, tenant.created_on) AS contract_start,
    -- A plan that ends after the month also ends the contract.
    coalesce(tenant.contract_end, (
        SELECT min(change.effective_from) - 1 FROM batch.plan_change AS change
        WHERE
            change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(period_end)s
    )) AS contract_end,
    profile.department,
    profile.honorific,
    coalesce(
        profile.recipient_name, CASE WHEN profile.language = 'en' THEN tenant.tenant_name_en END, tenant.tenant_name
    ) AS recipient_name,
    coalesce(profile.postal_code, tenant.postal_code) AS postal_code,
    coalesce(profile.address, tenant.address) AS address,
    live.invoice_id AS live_invoice_id,
    state.kind AS live_kind,
    state.status AS live_status,
    state.number AS live_number,
    state.total AS live_total,
    state.credited AS live_credited,
    state.credited_total AS live_credited_total,
    state.paid_total AS live_paid_total,
    state.fee_total AS live_fee_total,
    state.written_off_total AS live_written_off_total,
    state.open_amount AS live_open_amount,
    state.is_paid AS live_is_paid,
    state.is_carried AS live_is_carried,
    state.is_stopped AS live_is_stopped,
    state.corrected_by AS live_corrected_by,
    live.currency AS live_currency,
    live.input_hash AS live_input_hash,
    live.hold_reason AS live_hold_reason,
    live.execution_id AS live_execution_id,
    live.issued_on AS live_issued_on,
    coalesce(jsonb_array_length(live.inputs -> 'usage_days'), 0) AS live_usage_days,
    coalesce(live.content -> 'remarks', '[]') AS live_remarks,
    taken_back.number AS taken_back_number,
    taken_back.issued_on AS taken_back_on,
    received.number AS received_number,
    received.issued_on AS received_issued_on,
    array(
        SELECT past.execution_id FROM batch.invoice AS past
        WHERE
            past.tenant_id = tenant.tenant_id AND past.period_start = %(period_start)s AND past.kind = 'invoice'
            AND (past.status = 'void' OR past.credited)
    ) AS former_runs,
    previous.total AS previous_total,
    previous.recurring AS previous_recurring,
    previous.currency AS previous_currency,
    previous.billed_days AS previous_billed_days,
    previous.month_days AS previous_month_days,
    previous.yen_per_unit AS previous_yen_per_unit,
    NOT EXISTS (
        SELECT FROM batch.invoice AS other
        WHERE
            other.tenant_id = tenant.tenant_id AND other.period_start <> %(period_start)s AND other.kind = 'invoice'
            AND other.status = 'finalized' AND jsonb_array_length(other.inputs -> 'parts') > 0
    ) AS is_first,
    coalesce((
        SELECT
            jsonb_agg(
                jsonb_build_object('effective_from', change.effective_from, 'plan', change.plan)
                ORDER BY change.effective_from
            )
        FROM batch.plan_change AS change
        WHERE change.tenant_id = tenant.tenant_id AND change.effective_from <= %(period_end)s
    ), '[]') AS plan_changes,
    exists(
        SELECT FROM batch.plan_change AS known
        WHERE known.tenant_id = tenant.tenant_id
    ) AS has_plan_history,
    coalesce((
        SELECT
            jsonb_agg(
                jsonb_build_object(
                    'name', discount.name,
                    'kind', discount.kind,
                    'value', discount.value::text,
                    'currency', discount.currency,
                    'metric', discount.metric,
                    'valid_from', discount.valid_from,
                    'valid_to', discount.valid_to
                )
                ORDER BY discount.valid_from, discount.name
            )
        FROM batch.discount
        WHERE
            discount.tenant_id = tenant.tenant_id AND discount.valid_from <= %(period_end)s
            AND (discount.valid_to IS null OR discount.valid_to >= %(period_start)s)
    ), '[]') AS discounts,
    coalesce((
        SELECT
            jsonb_agg(
                jsonb_build_object(
                    'amount', commitment.amount::text,
                    'currency', commitment.currency,
                    'valid_from', commitment.valid_from,
                    'valid_to', commitment.valid_to
                )
                ORDER BY commitment.valid_from
            )
        FROM batch.commitment
        WHERE
            commitment.tenant_id = tenant.tenant_id AND commitment.valid_from <= %(period_end)s
            AND (commitment.valid_to IS null OR commitment.valid_to >= %(period_start)s)
    ), '[]') AS commitments,
    coalesce((
        SELECT
            jsonb_agg(
                jsonb_build_object(
                    'extra_charge_id', extra.extra_charge_id,
                    'charged_on', extra.charged_on,
                    'description', extra.description,
                    'quantity', extra.quantity::text,
                    'unit', extra.unit,
                    'unit_amount', extra.unit_amount::text,
                    'currency', extra.currency,
                    'tax_category', extra.tax_category,
                    'entered_by', extra.entered_by,
                    'entered_at', extra.entered_at,
                    'waits', extra.waits,
                    'approved_by', extra.approved_by
                )
                ORDER BY extra.charged_on, extra.entered_at, extra.extra_charge_id
            )
        FROM batch.extra_charge AS extra
        WHERE
            extra.tenant_id = tenant.tenant_id
            AND extra.charged_on BETWEEN %(period_start)s AND %(period_end)s
    ), '[]') AS extra_charges,
    (
        SELECT ordered.order_number
        FROM batch.order_number AS ordered
        WHERE
            ordered.tenant_id = tenant.tenant_id AND ordered.valid_from <= %(period_end)s
            AND (ordered.valid_to IS null OR ordered.valid_to >= %(period_end)s)
        ORDER BY ordered.valid_from DESC
        LIMIT 1
    ) AS order_number,
    (
        SELECT jsonb_build_object('yen_per_unit', rate.yen_per_unit::text, 'rate_date', rate.rate_date)
        FROM batch.exchange_rate AS rate
        WHERE
            rate.currency = coalesce(profile.currency, tenant.currency_code)
            AND rate.rate_date BETWEEN %(period_start)s AND %(period_end)s
        ORDER BY rate.rate_date DESC
        LIMIT 1
    ) AS exchange_rate,
    CASE
        WHEN coalesce(profile.currency, tenant.currency_code) <> 'JPY'
            THEN batch.waiting_rate_on(coalesce(profile.currency, tenant.currency_code), %(period_start)s, %(period_end)s)
    END AS waiting_rate_on
FROM batch.tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
LEFT JOIN batch.invoice AS live
    ON
        tenant.tenant_id = live.tenant_id AND live.period_start = %(period_start)s AND live.kind = 'invoice'
        AND live.status <> 'void' AND NOT live.credited
LEFT JOIN batch.invoice_state AS state ON live.invoice_id = state.invoice_id
-- The month's latest voided or credited invoice.
LEFT JOIN LATERAL (
    SELECT past.number, past.issued_on
    FROM batch.invoice AS past
    WHERE
        past.tenant_id = tenant.tenant_id AND past.period_start = %(period_start)s AND past.closes_month
    ORDER BY past.finalized_at DESC
    LIMIT 1
) AS taken_back ON true
-- The latest one that the customer may have: it is paid, or has no letter, or its letter, a correction's or a copy was not
-- withdrawn in time.
LEFT JOIN LATERAL (
    SELECT past.number, past.issued_on
    FROM batch.invoice AS past
    WHERE
        past.tenant_id = tenant.tenant_id AND past.period_start = %(period_start)s AND past.closes_month
        AND past.number IS NOT null
        AND (past.paid_total > 0 OR coalesce((
            SELECT
                bool_or(
                    upper(letter.send_status) NOT IN ('PENDING', 'RETRY') OR EXISTS (
                        SELECT FROM batch.outbox AS message
                        WHERE
                            message.tenant_id = letter.tenant_id AND message.dedupe_key = 'host:' || letter.id
                            AND (message.attempts > 0 OR message.status NOT IN ('pending', 'retry', 'withdrawn'))
                    )
                )
            FROM batch.tenant_notification AS letter
            -- An array, because a join would read the whole log.
            WHERE letter.id = any(array(
                SELECT unnest(ARRAY[document.letter_id, copy.notification_id])
                FROM (
                    SELECT 'invoice-' || past.invoice_id AS letter_id
                    UNION ALL
                    SELECT format('invoice-%%s-r%%s', revision.invoice_id, revision.revision)
                    FROM batch.invoice_revision AS revision
                    WHERE revision.invoice_id = past.invoice_id
                ) AS document
                LEFT JOIN batch.letter_copy AS copy ON document.letter_id = copy.letter_id
            ))
        ), true))
    ORDER BY past.finalized_at DESC
    LIMIT 1
) AS received ON true
-- The latest earlier month that was billed under a plan, less its credit notes, and the number of its billed days.
LEFT JOIN LATERAL (
    SELECT
        past.total - past.credited_total AS total,
        past.currency,
        (
            SELECT coalesce(sum((line.value ->> 'amount')::numeric), 0)
            FROM jsonb_array_elements(past.content -> 'lines') AS line
            WHERE line.value ->> 'kind' <> 'extra'
        ) + CASE
            WHEN past.credited_total = 0 THEN 0
            ELSE (
                SELECT coalesce(sum((line.value ->> 'amount')::numeric), 0)
                FROM batch.invoice AS credit
                CROSS JOIN LATERAL jsonb_array_elements(credit.content -> 'lines') AS line
                WHERE
                    credit.credits_invoice_id = past.invoice_id AND credit.kind = 'credit'
                    AND credit.status = 'finalized' AND line.value ->> 'kind' <> 'extra'
            )
        END AS recurring,
        past.period_end - past.period_start + 1 AS month_days,
        (past.inputs #>> '{exchange_rate,yen_per_unit}')::numeric AS yen_per_unit,
        (
            SELECT
                sum(
                    (part.value #>> '{plan_part,part,end}')::date
                    - (part.value #>> '{plan_part,part,start}')::date + 1
                )
            FROM jsonb_array_elements(past.inputs -> 'parts') AS part
        ) AS billed_days
    FROM batch.invoice AS past
    WHERE
        past.tenant_id = tenant.tenant_id AND past.period_start < %(period_start)s AND past.kind = 'invoice'
        AND past.status = 'finalized' AND NOT past.credited
        AND jsonb_array_length(past.inputs -> 'parts') > 0
    ORDER BY past.period_start DESC
    LIMIT 1
) AS previous ON true
WHERE
    NOT EXISTS (
        SELECT FROM batch.deleted_tenant AS gone
        WHERE gone.tenant_id = tenant.tenant_id
    )
ORDER BY tenant.tenant_id;

-- name: load_usage_days
SELECT
    tenant_id, usage_date, active_users, storage_bytes, api_calls, reports_generated, revision,
    registered_users, unplaced_accounts, read_events, unplaced_events
FROM batch.usage_day
WHERE usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY tenant_id, usage_date;

-- name: load_metered_amounts
SELECT tenant_id, usage_date, meter, amount, events, currency
FROM batch.metered_amount
WHERE usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY tenant_id, usage_date, meter;

-- name: formerly_active_tenants
-- Acts as batch_platform. Inactive tenants that must pay for the month: their contract or plan ended in it or later, or they have
-- a one-off line or usage in it. Deleted tenants pay nothing more.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL')
    AND NOT EXISTS (
        SELECT FROM batch.deleted_tenant AS gone
        WHERE gone.tenant_id = tenant.tenant_id
    )
    AND (
        (tenant.contract_end >= %(period_start)s AND coalesce(tenant.contract_start, tenant.created_on) <= %(period_end)s)
        OR EXISTS (
            SELECT FROM batch.plan_change AS change
            WHERE change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(period_start)s
        )
        OR EXISTS (
            SELECT FROM batch.extra_charge AS extra
            WHERE extra.tenant_id = tenant.tenant_id AND extra.charged_on BETWEEN %(period_start)s AND %(period_end)s
        )
        OR EXISTS (
            SELECT FROM batch.usage_day AS day
            WHERE day.tenant_id = tenant.tenant_id AND day.usage_date BETWEEN %(period_start)s AND %(period_end)s
        )
    )
ORDER BY tenant.tenant_id;
