-- name: load_accounts
-- One row per tenant of the transaction: the account data for the month's invoice, the invoice of the month and the total of
-- the previous one. The price list and the usage days are read separately.
SELECT
    tenant.tenant_id,
    tenant.tenant_code,
    tenant.tenant_name,
    tenant.status AS tenant_status,
    tenant.subscription_plan,
    tenant.currency_code AS currency,
    coalesce(tenant.contract_start, tenant.created_on) AS contract_start,
    -- A plan that ends after the month ends the contract as well.
    coalesce(tenant.contract_end, (
        SELECT min(change.effective_from) - 1 FROM batch.plan_change AS change
        WHERE
            change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(period_end)s
    )) AS contract_end,
    profile.department,
    coalesce(profile.recipient_name, tenant.tenant_name) AS recipient_name,
    coalesce(profile.postal_code, tenant.postal_code) AS postal_code,
    coalesce(profile.address, tenant.address) AS address,
    coalesce(profile.email, tenant.contact_email, tenant.admin_email) AS email,
    live.invoice_id AS live_invoice_id,
    live.status AS live_status,
    live.number AS live_number,
    live.total AS live_total,
    live.currency AS live_currency,
    live.input_hash AS live_input_hash,
    live.execution_id AS live_execution_id,
    previous.total AS previous_total,
    previous.currency AS previous_currency,
    coalesce((
        SELECT upper(billing.billing_status) = 'PAID' FROM batch.tenant_billing AS billing
        WHERE billing.id = live.invoice_id
    ), false) AS is_paid,
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
    (
        SELECT jsonb_build_object('yen_per_unit', rate.yen_per_unit::text, 'rate_date', rate.rate_date)
        FROM batch.exchange_rate AS rate
        WHERE rate.currency = tenant.currency_code AND rate.rate_date BETWEEN %(period_start)s AND %(period_end)s
        ORDER BY rate.rate_date DESC
        LIMIT 1
    ) AS exchange_rate
FROM batch.tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
LEFT JOIN batch.invoice AS live
    ON
        tenant.tenant_id = live.tenant_id AND live.period_start = %(period_start)s AND live.kind = 'invoice'
        AND live.status <> 'void' AND NOT live.credited
-- The newest invoiced month before this one.
LEFT JOIN LATERAL (
    SELECT past.total, past.currency
    FROM batch.invoice AS past
    WHERE
        past.tenant_id = tenant.tenant_id AND past.period_start < %(period_start)s AND past.kind = 'invoice'
        AND past.status IN ('finalized', 'sent') AND NOT past.credited
    ORDER BY past.period_start DESC
    LIMIT 1
) AS previous ON true
ORDER BY tenant.tenant_id;

-- name: load_usage_days
SELECT
    tenant_id, usage_date, active_users, storage_bytes, api_calls, reports_generated, revision,
    registered_users, unplaced_accounts, read_events, unplaced_events
FROM batch.usage_day
WHERE usage_date BETWEEN %(period_start)s AND %(period_end)s
ORDER BY tenant_id, usage_date;

-- name: formerly_active_tenants
-- Runs across tenants, as batch_platform. Tenants that are no longer active but must pay for the month: their contract or plan
-- ended in it or later, or they used the product in it.
SELECT tenant.tenant_id
FROM batch.all_tenant AS tenant
WHERE
    tenant.status NOT IN ('ACTIVE', 'TRIAL')
    AND (
        (tenant.contract_end >= %(period_start)s AND coalesce(tenant.contract_start, tenant.created_on) <= %(period_end)s)
        OR EXISTS (
            SELECT FROM batch.plan_change AS change
            WHERE change.tenant_id = tenant.tenant_id AND change.plan IS null AND change.effective_from > %(period_start)s
        )
        OR EXISTS (
            SELECT FROM batch.usage_day AS day
            WHERE day.tenant_id = tenant.tenant_id AND day.usage_date BETWEEN %(period_start)s AND %(period_end)s
        )
    )
ORDER BY tenant.tenant_id;
