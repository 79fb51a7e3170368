-- name: lock_contracts
-- One run at a time changes contracts.
SELECT pg_advisory_xact_lock(%(lock)s);

-- name: present_recipients
-- Acts as batch_platform. The data that documents and e-mails of these tenants would show now.
SELECT
    tenant.tenant_id,
    coalesce(
        profile.recipient_name, CASE WHEN profile.language = 'en' THEN tenant.tenant_name_en END, tenant.tenant_name, ''
    ) AS name,
    array_remove(
        coalesce(profile.email, tenant.contact_email, tenant.admin_email) || profile.further_emails || profile.cc_emails, null
    ) AS addresses
FROM batch.all_tenant AS tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
WHERE tenant.tenant_id = any(%(tenant_ids)s);

-- name: present_currencies
-- Acts as batch_platform.
SELECT tenant.tenant_id, coalesce(profile.currency, tenant.currency_code) AS currency
FROM batch.all_tenant AS tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
WHERE tenant.tenant_id = any(%(tenant_ids)s);

-- name: invoices_with_rate
-- Acts as batch_platform. The final documents with yen at this day's rate.
SELECT
    number, total - credited_total AS total, (inputs #>> '{exchange_rate,yen_per_unit}')::numeric AS yen_per_unit
FROM batch.invoice
WHERE
    kind = 'invoice' AND status = 'finalized' AND NOT credited AND currency = %(currency)s
    AND period_start = date_trunc('month', %(rate_date)s::timestamp)::date
    AND inputs #>> '{exchange_rate,rate_date}' = %(rate_date)s::text
ORDER BY number;

-- name: names_of_letters
-- The name and language of e-mails to former addresses of the transaction's tenants. The application's name, so that former
-- recipients do not learn the new one.
SELECT
    tenant.tenant_id,
    coalesce(CASE WHEN profile.language = 'en' THEN tenant.tenant_name_en END, tenant.tenant_name) AS name,
    coalesce(profile.language, 'ja') AS language,
    profile.honorific
FROM batch.tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id;

-- name: codes_of_tenants
-- Acts as batch_platform.
SELECT tenant_id, tenant_code
FROM batch.all_tenant;

-- name: take_entered_values
SELECT batch.take_entered_values(%(token)s, %(dag_id)s, %(operation)s, %(person)s, %(execution_id)s, %(usable)s);

-- name: has_done
-- True if an earlier attempt of the run has done its step, even before the entire run was cleared.
WITH attempt AS (
    SELECT execution_id
    FROM batch.execution_log
    WHERE execution_id IN (SELECT batch.attempts_of(%(execution_id)s)) AND NOT dry_run
)

SELECT
    EXISTS (
        SELECT FROM batch.run_remark
        WHERE execution_id IN (SELECT attempt.execution_id FROM attempt) AND step = %(step)s
    )
    OR EXISTS (
        SELECT FROM batch.contract_change
        WHERE
            execution_id IN (SELECT attempt.execution_id FROM attempt)
            OR decided_in IN (SELECT attempt.execution_id FROM attempt)
    );

-- name: expire
-- Expired values, the remains of used ones, and expired changes.
WITH unused AS (
    DELETE FROM batch.entered_values
    WHERE entered_at < now() - CASE WHEN execution_id IS null THEN %(usable)s ELSE %(waits)s END
)

UPDATE batch.contract_change
SET status = 'expired', before = null, after = null, decided_at = now()
WHERE status = 'waiting' AND entered_at < now() - %(waits)s;

-- name: record_change
INSERT INTO batch.contract_change (
    change_id, tenant_id, kind, before, after, changed, former_emails, reason, entered_by, entered_at, execution_id, status,
    decided_by, decided_at, decided_in
)
VALUES (
    %(change_id)s, %(tenant_id)s, %(kind)s, %(before)s, %(after)s, %(changed)s, %(former_emails)s, %(reason)s,
    %(entered_by)s, coalesce(%(entered_at)s, clock_timestamp()), %(execution_id)s, %(status)s, %(decided_by)s,
    CASE WHEN %(status)s::text = 'applied' THEN now() END,
    CASE WHEN %(status)s::text = 'applied' THEN coalesce(%(decided_in)s, %(execution_id)s) END
);

-- name: applied_changes
-- The changes that a run applied to the transaction's tenants, even before the entire run was cleared.
SELECT change_id, tenant_id, kind, before, after, changed, former_emails
FROM batch.contract_change
WHERE
    status = 'applied'
    AND decided_in IN (SELECT batch.attempts_of(%(execution_id)s))
ORDER BY tenant_id, change_id;

-- name: lock_change
SELECT change_id, tenant_id, kind, before, after, changed, reason, entered_by, entered_at, status, decided_in
FROM batch.contract_change
WHERE change_id = %(change_id)s
FOR UPDATE;

-- name: approve_change
UPDATE batch.contract_change
SET
    status = 'applied',
    decided_by = %(person)s,
    decided_at = now(),
    decided_in = %(execution_id)s,
    former_emails = %(former_emails)s,
    -- The changes of an import have their own rows.
    after = CASE WHEN kind <> 'import' THEN after END
WHERE change_id = %(change_id)s;

-- name: withdraw_contract
-- The values are deleted, and the reason is added to the former one.
UPDATE batch.contract_change
SET
    status = 'refused',
    decided_by = %(person)s,
    decided_at = now(),
    decided_in = %(execution_id)s,
    reason = concat_ws('／取り下げ: ', reason, %(reason)s::text),
    before = null,
    after = null
WHERE change_id = any(%(entry_ids)s) AND status = 'waiting'
RETURNING change_id;

-- name: withdraw_rates
-- The waiting rates of a currency and a day, after another one was entered.
UPDATE batch.contract_change
SET
    status = 'refused', decided_by = %(person)s, decided_at = now(), decided_in = %(execution_id)s, before = null, after = null
WHERE
    status = 'waiting' AND kind = 'exchange_rate' AND after ->> 'currency' = %(currency)s
    AND after ->> 'rate_date' = %(rate_date)s::text;

-- name: waiting_tenants
-- The tenants of waiting changes with these ids, including changes in an import.
SELECT DISTINCT coalesce(nullif(change.tenant_id, ''), part.value ->> 'owner') AS tenant_id
FROM batch.contract_change AS change
LEFT JOIN LATERAL jsonb_array_elements(CASE WHEN change.kind = 'import' THEN change.after END) AS part (value) ON true
WHERE
    change.change_id = any(%(change_ids)s) AND (part.value ->> 'kind') IS DISTINCT FROM 'exchange_rate'
    AND coalesce(nullif(change.tenant_id, ''), part.value ->> 'owner') IS NOT null;

-- name: billed_months
-- The final invoices of a tenant from a day on, newest last.
SELECT invoice_id, tenant_id, number, status, content, inputs, period_start, issued_on, due_on, credited_total
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND kind = 'invoice' AND status = 'finalized' AND NOT credited
    AND period_start >= %(since)s
ORDER BY period_start;
