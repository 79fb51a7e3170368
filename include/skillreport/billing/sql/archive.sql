-- name: unwritten_documents
-- The month's numbered documents and revisions with fewer than two recorded files. Void invoices are not sent.
SELECT invoice.invoice_id, document.revision, document.content, invoice.number, invoice.issued_on, document.due_on
FROM batch.invoice
CROSS JOIN
    LATERAL (
        SELECT
            1 AS revision,
            invoice.content,
            coalesce(
                (
                    SELECT corrected.earlier_due_on FROM batch.invoice_revision AS corrected
                    WHERE corrected.invoice_id = invoice.invoice_id AND corrected.revision = 2
                ),
                invoice.due_on
            ) AS due_on
        UNION ALL
        SELECT corrected.revision, corrected.content, corrected.due_on
        FROM batch.invoice_revision AS corrected
        WHERE corrected.invoice_id = invoice.invoice_id
    ) AS document
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND invoice.number IS NOT null
    AND invoice.status <> 'void'
    AND (
        SELECT count(*) FROM batch.invoice_document AS written
        WHERE written.invoice_id = invoice.invoice_id AND written.revision = document.revision
    ) < 2
ORDER BY invoice.number, document.revision;

-- name: record_document
INSERT INTO batch.invoice_document (invoice_id, tenant_id, revision, format, location, sha256, bytes)
VALUES (%(invoice_id)s, %(tenant_id)s, %(revision)s, %(format)s, %(location)s, %(sha256)s, %(bytes)s)
ON CONFLICT (invoice_id, revision, format) DO UPDATE SET
    location = excluded.location, sha256 = excluded.sha256, bytes = excluded.bytes,
    written_at = now();

-- name: record_letter_file
-- The document's e-mail can be sent now. A file that is too large for the mail server is not attached.
UPDATE batch.letter_file
SET sha256 = %(sha256)s, bytes = %(bytes)s, is_attached = %(bytes)s <= %(largest)s
WHERE tenant_id = %(tenant_id)s AND notification_id = %(letter_id)s AND sha256 IS null;

-- name: sample_drafts
SELECT invoice_id, content, number, issued_on, due_on
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s AND kind = 'invoice' AND status = 'draft'
    AND total <> 0;
