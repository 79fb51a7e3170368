-- name: contract_profile
SELECT profile, stated
FROM batch.board_billing_profile
WHERE tenant_id = %(tenant_id)s;

-- name: contract_terms
-- Valid rows (on a day in Japan) first, then later ones, then ended ones.
SELECT
    kind, valid_from, valid_to, terms,
    CASE
        WHEN valid_from > %(today)s THEN 'later'
        WHEN valid_to < %(today)s THEN 'earlier'
        ELSE 'now'
    END AS state
FROM batch.board_contract_term
WHERE tenant_id = %(tenant_id)s
ORDER BY state DESC, kind ASC, valid_from DESC, terms ->> 'name' ASC;

-- name: contract_payers
SELECT payer_id, payer_name, payer_code, confirmed_by, confirmed_at
FROM batch.board_payer
WHERE tenant_id = %(tenant_id)s
ORDER BY payer_name, payer_code;

-- name: contract_addresses
-- The tenant's addresses, with the last mail since a time, and why an address gets no e-mails now. An unsubscription does not
-- stop them.
SELECT
    listed.address, listed.column_name, mail.status, mail.error_code, coalesce(mail.finished_at, mail.created_at) AS mailed_at,
    CASE
        WHEN listed.reason = 'unsubscribe' THEN CASE WHEN listed.bounced_until > %(now)s THEN 'bounce' END
        WHEN listed.suppressed_until IS null OR listed.suppressed_until > %(now)s THEN listed.reason
    END AS reason,
    listed.error_code AS reason_code, listed.suppressed_at, listed.suppressed_until
FROM batch.board_billing_address AS listed
LEFT JOIN (
    SELECT DISTINCT ON (address) address, status, error_code, created_at, finished_at
    FROM batch.board_billing_mail
    WHERE tenant_id = %(tenant_id)s AND created_at > %(since)s
    ORDER BY address ASC, created_at DESC
) AS mail ON listed.address = mail.address
WHERE listed.tenant_id = %(tenant_id)s
ORDER BY listed.place;

-- name: waiting_contract_changes
-- The waiting changes of a tenant (also in a file) or of all, with their open requests. A profile also has what documents state
-- where it is empty.
SELECT
    change.change_id, change.tenant_id, coalesce(tenant.tenant_code, change.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, change.kind, change.before, change.after, change.imported,
    change.changed, change.reason, change.entered_by, change.entered_at, profile.stated,
    coalesce(request.dag_id, 'approve_contracts') AS dag_id, request.run_id, count(*) OVER () AS hits
FROM batch.board_contract_change AS change
LEFT JOIN batch.board_tenant AS tenant ON change.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_billing_profile AS profile ON change.tenant_id = profile.tenant_id AND change.kind = 'profile'
LEFT JOIN LATERAL (
    SELECT asked.dag_id, asked.run_id
    FROM batch.board_approval_item AS item
    INNER JOIN batch.board_approval_request AS asked ON item.request_id = asked.request_id
    WHERE
        item.tenant_id = coalesce(nullif(change.tenant_id, ''), change.change_id) AND item.item_id = change.change_id
        AND item.answer IS null AND item.superseded_by IS null AND asked.closed_at IS null
    ORDER BY asked.asked_at DESC
    LIMIT 1
) AS request ON true
WHERE
    change.status = 'waiting'
    AND (
        %(tenant_id)s::text IS null OR change.tenant_id = %(tenant_id)s
        OR change.change_id IN (
            SELECT imported.change_id FROM batch.board_imported_change AS imported
            WHERE imported.tenant_id = %(tenant_id)s
        )
    )
ORDER BY change.entered_at, change.change_id
LIMIT %(most)s;

-- name: imported_contract_changes
-- The first rows of each waiting file, of a tenant or of all.
SELECT
    imported.change_id, imported.owner, imported.kind, imported.before, imported.after, imported.reason, profile.stated,
    coalesce(tenant.tenant_code, imported.owner) AS tenant_code
FROM (
    SELECT listed.*, row_number() OVER (PARTITION BY listed.change_id ORDER BY listed.place) AS row_of_file
    FROM batch.board_imported_change AS listed
    WHERE
        listed.change_id = any(%(change_ids)s)
        AND (%(tenant_id)s::text IS null OR listed.tenant_id = %(tenant_id)s)
) AS imported
LEFT JOIN batch.board_tenant AS tenant ON imported.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_billing_profile AS profile ON imported.tenant_id = profile.tenant_id AND imported.kind = 'profile'
WHERE imported.row_of_file <= %(most)s
ORDER BY imported.change_id, imported.place;

-- name: contract_history
-- The decisions about a tenant's contract; for the empty tenant: about rates and files.
SELECT
    change_id, kind, before, after, imported, changed, reason, entered_by, entered_at, status, decided_by, decided_at,
    count(*) OVER () AS hits
FROM batch.board_contract_change
WHERE tenant_id = %(tenant_id)s AND status <> 'waiting'
ORDER BY entered_at DESC, change_id ASC
LIMIT %(most)s;

-- name: exchange_rates
SELECT currency, rate_date, yen_per_unit, count(*) OVER () AS hits
FROM batch.board_exchange_rate
ORDER BY rate_date DESC, currency ASC
LIMIT %(most)s;
