-- name: held_invoices
-- Runs across tenants, as batch_platform. The month's drafts that wait for approval, of all runs or of one.
SELECT
    invoice.tenant_id,
    invoice.invoice_id AS item_id,
    invoice.content ->> 'tenant_code' AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name,
    invoice.execution_id AS held_by,
    invoice.input_hash AS fingerprint,
    invoice.hold_reason AS reason,
    jsonb_build_object(
        'month', to_char(invoice.period_start, 'YYYY-MM'),
        'total', invoice.total::text,
        'currency', invoice.currency,
        'previous_total', (previous.total - previous.credited_total)::text,
        'previous_currency', previous.currency,
        'allow_incomplete', coalesce(log.parameters -> 'allow_incomplete' = 'true'::jsonb, false)
    ) AS figures
FROM batch.invoice
INNER JOIN batch.execution_log AS log ON invoice.execution_id = log.execution_id
LEFT JOIN batch.all_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
-- The invoice with which the hold's reason compares the draft: "previous" of load_accounts
-- (include/skillreport/billing/sql/accounts.sql).
LEFT JOIN LATERAL (
    SELECT past.total, past.credited_total, past.currency
    FROM batch.invoice AS past
    WHERE
        past.tenant_id = invoice.tenant_id AND past.period_start < invoice.period_start AND past.kind = 'invoice'
        AND past.status = 'finalized' AND NOT past.credited
        AND jsonb_array_length(past.inputs -> 'parts') > 0
    ORDER BY past.period_start DESC
    LIMIT 1
) AS previous ON true
WHERE
    invoice.kind = 'invoice' AND invoice.status = 'draft' AND invoice.hold_reason IS NOT null
    AND invoice.period_start = %(month)s
    AND (%(execution_id)s::text IS null OR invoice.execution_id = %(execution_id)s)
    AND (cardinality(%(codes)s::text[]) = 0 OR invoice.content ->> 'tenant_code' = any(%(codes)s))
    -- Sample drafts, and drafts that cannot be issued unchanged, have another outcome.
    AND EXISTS (
        SELECT FROM batch.tenant_outcome AS outcome
        WHERE
            outcome.execution_id = invoice.execution_id AND outcome.tenant_id = invoice.tenant_id
            -- A run that holds all drafts succeeds.
            AND (outcome.error_code = any(%(codes_of_holds)s) OR outcome.details ->> 'settlement' = 'held')
    )
ORDER BY tenant_code, invoice.tenant_id;

-- name: held_plans
-- Runs across tenants, as batch_platform. The newest plan of each directory, if it is held and may be allowed.
SELECT
    plan.tenant_id,
    plan.provider AS item_id,
    tenant.tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name,
    plan.execution_id AS held_by,
    plan.reason,
    plan.counts AS figures,
    (
        SELECT coalesce(array_agg(link.external_id), '{}')
        FROM batch.account_link AS link
        WHERE
            link.tenant_id = plan.tenant_id AND link.provider = plan.provider AND link.status = 'active'
            AND link.absent_on IS NOT null
    ) AS absent
FROM (
    SELECT DISTINCT ON (tenant_id, provider) tenant_id, provider, execution_id, status, reason, counts
    FROM batch.sync_plan
    WHERE status IN ('held', 'applied')
    ORDER BY tenant_id ASC, provider ASC, planned_at DESC
) AS plan
INNER JOIN batch.all_tenant AS tenant ON plan.tenant_id = tenant.tenant_id
WHERE
    plan.status = 'held' AND plan.counts ? 'linksToEnd'
    AND (%(execution_id)s::text IS null OR plan.execution_id = %(execution_id)s)
    AND (cardinality(%(codes)s::text[]) = 0 OR tenant.tenant_code = any(%(codes)s))
ORDER BY tenant.tenant_code, plan.tenant_id, plan.provider;

-- name: absent_links
-- The accounts with active links that the tenant's last listing did not contain.
SELECT external_id
FROM batch.account_link
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s AND status = 'active' AND absent_on IS NOT null;

-- name: waiting_changes
-- Runs across tenants, as batch_platform. The contract changes that wait for a second user. Every viewer of Airflow can read a
-- request, so it contains no values.
SELECT
    -- An import of a file has no tenant.
    coalesce(nullif(change.tenant_id, ''), change.change_id) AS tenant_id,
    change.change_id AS item_id,
    -- The answer names codes. A file has its id as code, because its name may be a tenant's code.
    coalesce(tenant.tenant_code, change.change_id) AS tenant_code,
    coalesce(tenant.tenant_name, change.reason) AS tenant_name,
    change.execution_id AS held_by,
    change.change_id AS fingerprint,
    jsonb_build_object(
        'kind', change.kind, 'changed', change.changed, 'entered_by', change.entered_by,
        'rows', CASE WHEN change.kind = 'import' THEN jsonb_array_length(change.after) ELSE 1 END
    ) AS figures,
    change.change_id AS reason
FROM batch.contract_change AS change
LEFT JOIN batch.all_tenant AS tenant ON change.tenant_id = tenant.tenant_id
WHERE
    change.status = 'waiting'
    -- A cleared run has another execution than the one that entered the change.
    AND (%(execution_id)s::text IS null OR change.execution_id IN (SELECT batch.attempts_of(%(execution_id)s)))
    AND (cardinality(%(codes)s::text[]) = 0 OR coalesce(tenant.tenant_code, change.change_id) = any(%(codes)s))
ORDER BY tenant_code, change.tenant_id, change.change_id;

-- name: held_messages
-- Runs across tenants, as batch_platform. The messages that all batches, or an execution's batch, hold after a pause, by kind and
-- age: up to 1, 3 and 7 days, and older.
SELECT
    kind.deferred_for AS tenant_id,
    kind.deferred_for AS item_id,
    kind.deferred_for AS tenant_code,
    kind.deferred_for AS fingerprint,
    coalesce(%(execution_id)s::text, '') AS held_by,
    coalesce((
        SELECT tick.deferral_reason FROM batch.started_tick AS tick
        WHERE tick.batch_id = kind.deferred_for AND tick.deferral_reason IS NOT null
        ORDER BY tick.ticked_at DESC
        LIMIT 1
    ), '') AS reason,
    jsonb_build_object(
        'messages', sum(kind.messages),
        'kinds', jsonb_agg(
            jsonb_build_object('kind', kind.kind, 'tenants', kind.tenants, 'by_age', kind.by_age)
            ORDER BY kind.messages DESC, kind.kind ASC
        )
    ) AS figures
FROM (
    SELECT
        deferred_for,
        coalesce(template_key, CASE WHEN host_log_id IS null THEN 'other' ELSE 'application' END) AS kind,
        count(*) AS messages,
        count(DISTINCT tenant_id) AS tenants,
        jsonb_build_array(
            count(*) FILTER (WHERE age <= interval '1 day'),
            count(*) FILTER (WHERE age > interval '1 day' AND age <= interval '3 days'),
            count(*) FILTER (WHERE age > interval '3 days' AND age <= interval '7 days'),
            count(*) FILTER (WHERE age > interval '7 days')
        ) AS by_age
    FROM (
        SELECT deferred_for, template_key, host_log_id, tenant_id, now() - due_at AS age
        FROM batch.outbox
        WHERE
            deferred_for IS NOT null
            AND (
                %(execution_id)s::text IS null
                OR deferred_for = (
                    SELECT log.batch_id FROM batch.execution_log AS log
                    WHERE log.execution_id = %(execution_id)s
                )
            )
    ) AS message
    GROUP BY deferred_for, kind
) AS kind
GROUP BY kind.deferred_for
ORDER BY kind.deferred_for;

-- name: leaving_tenants
-- Runs across tenants, as batch_platform. The tenants whose deletion waits for a second user, with the number of rows in each
-- table, and the disputed entries in the register.
SELECT
    leaving.tenant_id,
    leaving.offboarding_id AS item_id,
    leaving.tenant_code,
    leaving.tenant_name,
    leaving.asked_in AS held_by,
    leaving.offboarding_id || ' ' || leaving.asked_in AS fingerprint,
    jsonb_build_object(
        'begun_by', leaving.begun_by,
        'asked_by', leaving.asked_by,
        'tables', (
            SELECT
                coalesce(
                    jsonb_agg(
                        jsonb_build_array(counted.table_name, counted.rule, counted.exported - counted.done)
                        ORDER BY counted.place, counted.table_name
                    ),
                    '[]'
                )
            FROM batch.offboarding_table AS counted
            WHERE counted.offboarding_id = leaving.offboarding_id AND counted.exported > counted.done
        )
    ) AS figures,
    leaving.reason
FROM batch.offboarding AS leaving
WHERE
    leaving.stage = 'asked'
    -- A cleared run has another execution than the one that asked.
    AND (%(execution_id)s::text IS null OR leaving.asked_in IN (SELECT batch.attempts_of(%(execution_id)s)))
    AND (cardinality(%(codes)s::text[]) = 0 OR leaving.tenant_code = any(%(codes)s))
UNION ALL
SELECT
    disputed.tenant_id,
    disputed.offboarding_id AS item_id,
    tenant.tenant_code,
    tenant.tenant_name,
    disputed.asked_in AS held_by,
    'dispute ' || disputed.asked_in AS fingerprint,
    jsonb_build_object('disputed_by', disputed.asked_by, 'deleted_at', gone.deleted_at) AS figures,
    disputed.reason
FROM batch.disputed_entry AS disputed
INNER JOIN batch.deleted_tenant AS gone USING (tenant_id, offboarding_id)
INNER JOIN batch.all_tenant AS tenant ON disputed.tenant_id = tenant.tenant_id
WHERE
    disputed.decided_at IS null AND gone.is_to_repeat
    AND (%(execution_id)s::text IS null OR disputed.asked_in IN (SELECT batch.attempts_of(%(execution_id)s)))
    AND (cardinality(%(codes)s::text[]) = 0 OR tenant.tenant_code = any(%(codes)s))
    AND NOT EXISTS (
        SELECT FROM batch.offboarding AS begun
        WHERE begun.tenant_id = disputed.tenant_id AND begun.stage NOT IN ('deleted', 'cancelled')
    )
ORDER BY tenant_code, tenant_id;
