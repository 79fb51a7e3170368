-- name: counterparties_with
-- The customers' names in all documents that contain a text. Walks the index from name to name, because names are far fewer than
-- documents.
WITH RECURSIVE known (counterparty) AS (
    (
        SELECT invoice.counterparty FROM batch.board_invoice AS invoice
        WHERE invoice.number IS NOT null AND invoice.counterparty IS NOT null
        ORDER BY invoice.counterparty
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT invoice.counterparty FROM batch.board_invoice AS invoice
        WHERE invoice.number IS NOT null AND invoice.counterparty > known.counterparty
        ORDER BY invoice.counterparty
        LIMIT 1
    )
    FROM known
    WHERE known.counterparty IS NOT null
)

SELECT counterparty FROM known
WHERE strpos(batch.folded(counterparty), batch.folded(%(text)s)) > 0
UNION
SELECT counterparty FROM batch.board_invoice_revision
WHERE strpos(batch.folded(counterparty), batch.folded(%(text)s)) > 0;

-- name: found_documents
-- The numbered documents of all years, void ones with their amounts (電子帳簿保存法), newest first, with a row per revision. The
-- names of all revisions are searched. The columns serve the page and the monthly index
-- (include/skillreport/billing/accounting/document_index.py).
WITH found AS (
    SELECT invoice.invoice_id
    FROM batch.board_invoice AS invoice
    WHERE
        invoice.number IS NOT null
        AND (%(first_day)s::date IS null OR invoice.issued_on >= %(first_day)s)
        AND (%(last_day)s::date IS null OR invoice.issued_on <= %(last_day)s)
        AND (%(least)s::numeric IS null OR invoice.yen_total >= %(least)s)
        AND (%(largest)s::numeric IS null OR invoice.yen_total <= %(largest)s)
        AND (
            %(counterparties)s::text[] IS null
            OR invoice.counterparty = any(%(counterparties)s)
            OR invoice.invoice_id = any(
                array(
                    SELECT named.invoice_id FROM batch.board_invoice_revision AS named
                    WHERE named.counterparty = any(%(counterparties)s)
                )
            )
        )
        AND (%(number)s::text IS null OR invoice.number LIKE %(number)s)
        AND (%(kind)s::text IS null OR invoice.kind = %(kind)s)
    ORDER BY invoice.issued_on DESC, invoice.number DESC
    LIMIT %(most)s OFFSET %(skipped)s
)

SELECT
    invoice.invoice_id, invoice.tenant_id,
    coalesce(tenant.tenant_code, invoice.tenant_code, invoice.tenant_id) AS shown_code,
    invoice.kind, invoice.status, invoice.state, invoice.credited, invoice.number, invoice.issued_on, invoice.period_start,
    invoice.period_end, invoice.total, invoice.currency, invoice.yen_total,
    coalesce(corrected.counterparty, invoice.counterparty) AS counterparty,
    invoice.tenant_code,
    original.number AS original_number,
    invoice.content #>> '{replaces,number}' AS replaced_number,
    (invoice.voided_at AT TIME ZONE 'Asia/Tokyo')::date AS voided_on,
    invoice.void_reason,
    coalesce(pdf.sha256, '') AS pdf_sha256,
    coalesce(json.sha256, '') AS json_sha256,
    document.revision,
    corrected.corrected_on,
    corrected.reason AS correction,
    coalesce(invoice.content ->> 'order_number', '') AS order_number,
    exists(
        SELECT FROM batch.board_invoice_revision AS later
        WHERE later.invoice_id = found.invoice_id AND later.revision > document.revision
    ) AS is_corrected
FROM found
INNER JOIN batch.board_invoice AS invoice ON found.invoice_id = invoice.invoice_id
CROSS JOIN
    LATERAL (
        SELECT 1 AS revision
        UNION ALL
        SELECT listed.revision FROM batch.board_invoice_revision AS listed
        WHERE listed.invoice_id = found.invoice_id
    ) AS document
LEFT JOIN batch.board_invoice_revision AS corrected
    ON found.invoice_id = corrected.invoice_id AND document.revision = corrected.revision
LEFT JOIN batch.board_tenant AS tenant ON invoice.tenant_id = tenant.tenant_id
LEFT JOIN batch.board_invoice AS original ON invoice.credits_invoice_id = original.invoice_id
LEFT JOIN batch.board_document AS pdf
    ON invoice.invoice_id = pdf.invoice_id AND document.revision = pdf.revision AND pdf.format = 'pdf'
LEFT JOIN batch.board_document AS json
    ON invoice.invoice_id = json.invoice_id AND document.revision = json.revision AND json.format = 'json'
ORDER BY invoice.issued_on DESC, invoice.number DESC, document.revision DESC;

-- name: count_documents
-- Has the same conditions. Counts up to a limit, which is enough for the page.
SELECT count(*)
FROM (
    SELECT FROM batch.board_invoice AS invoice
    WHERE
        invoice.number IS NOT null
        AND (%(first_day)s::date IS null OR invoice.issued_on >= %(first_day)s)
        AND (%(last_day)s::date IS null OR invoice.issued_on <= %(last_day)s)
        AND (%(least)s::numeric IS null OR invoice.yen_total >= %(least)s)
        AND (%(largest)s::numeric IS null OR invoice.yen_total <= %(largest)s)
        AND (
            %(counterparties)s::text[] IS null
            OR invoice.counterparty = any(%(counterparties)s)
            OR invoice.invoice_id = any(
                array(
                    SELECT named.invoice_id FROM batch.board_invoice_revision AS named
                    WHERE named.counterparty = any(%(counterparties)s)
                )
            )
        )
        AND (%(number)s::text IS null OR invoice.number LIKE %(number)s)
        AND (%(kind)s::text IS null OR invoice.kind = %(kind)s)
    LIMIT %(most)s -- noqa: AM09
) AS found;
