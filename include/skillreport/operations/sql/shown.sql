-- name: shown_invoices
-- Each of these statements returns tenant_id and thing, and optionally an amount (total, currency). The board has equal ones on
-- its views (described_...). Operations run them as batch_platform before a run is opened, and again in the tenants' transaction.
--
-- The month's invoice; after a full credit, also the new one. On request (also), void invoices with a number, or waiting credit
-- notes and write-offs.
SELECT invoice.tenant_id, coalesce(invoice.number, '番号なし') AS thing, invoice.total, invoice.currency
FROM batch.invoice
WHERE
    invoice.tenant_id = any(%(tenant_ids)s) AND invoice.period_start = %(period_start)s
    AND (
        (
            invoice.kind = 'invoice'
            AND (invoice.status <> 'void' OR (%(also)s = 'closed' AND invoice.number IS NOT null))
        )
        OR (starts_with(%(also)s, 'waiting') AND invoice.kind = 'credit' AND invoice.status = 'draft')
    )
UNION ALL
SELECT written.tenant_id, coalesce(invoice.number, '') || ' の貸倒れ' AS thing, written.amount AS total, invoice.currency
FROM batch.waiting_write_off AS written
INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
WHERE
    %(also)s = 'waiting' AND written.tenant_id = any(%(tenant_ids)s) AND invoice.period_start = %(period_start)s
    AND written.decided_in IS null;

-- name: shown_lines
-- The one-off lines with this text or id.
SELECT
    line.tenant_id, line.description || ' ' || line.charged_on AS thing, line.quantity * line.unit_amount AS total, line.currency
FROM batch.extra_charge AS line
WHERE
    line.tenant_id = any(%(tenant_ids)s)
    AND (line.extra_charge_id = %(line_text)s OR line.description = %(line_text)s)
    AND line.charged_on = coalesce(%(line_date)s::date, line.charged_on);

-- name: shown_channels
SELECT circuit.tenant_id, circuit.channel AS thing
FROM batch.channel_circuit AS circuit
WHERE circuit.tenant_id = any(%(tenant_ids)s);

-- name: shown_stops
SELECT
    stop.tenant_id,
    to_char(stop.entered_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS') || ' からの停止' AS thing
FROM batch.message_stop AS stop
WHERE stop.tenant_id = any(%(tenant_ids)s);

-- name: shown_offboardings
-- The newest one that began before this run. The operation checks the stage.
SELECT DISTINCT ON (leaving.tenant_id)
    leaving.tenant_id,
    to_char(leaving.begun_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS') || ' に始めた退会' AS thing
FROM batch.offboarding AS leaving
WHERE leaving.tenant_id = any(%(tenant_ids)s) AND leaving.offboarding_id <> %(execution_id)s
ORDER BY leaving.tenant_id ASC, leaving.begun_at DESC;

-- name: shown_contracts
-- The newest applied change, because any later change alters what the user saw.
SELECT
    change.tenant_id,
    '契約の最後の変更 '
    || to_char(
        max(coalesce(change.decided_at, change.entered_at)) AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS'
    ) AS thing
FROM batch.contract_change AS change
WHERE change.tenant_id = any(%(tenant_ids)s) AND change.status = 'applied'
GROUP BY change.tenant_id;

-- name: shown_rates
SELECT '' AS tenant_id, rate.currency || ' ' || rate.rate_date AS thing, rate.yen_per_unit AS total, 'JPY' AS currency
FROM batch.exchange_rate AS rate
WHERE rate.currency = %(currency)s AND rate.rate_date = %(rate_date)s::date;
