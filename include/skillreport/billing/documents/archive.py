"""The files of invoices in the object store. File names contain invoice numbers, but no texts that users entered."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.billing.documents.invoice import Invoice, document_key
from include.skillreport.billing.documents.issuer_images import read_images
from include.skillreport.billing.documents.rendering import render_json, render_pdf
from include.skillreport.billing.ledger.stored_invoice import letter_id, stored_document
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parents[1])

FORMATS = ("pdf", "json")


def render(invoice: Invoice, format_name: str, store: ObjectStore | None, *, sample: bool = False) -> bytes:
    """The document in one of ``FORMATS``. ``store`` has its issuer's images. Errors as ``render_pdf`` and ``read_images``."""
    if format_name == "json":
        return render_json(invoice, sample=sample)
    return render_pdf(invoice, sample=sample, images=read_images(invoice.issuer, store))


def sample_key(period_start: date, invoice_id: str, format_name: str) -> str:
    """``samples/2026-10/sample-<id>.pdf``: in a separate folder, and without a number."""
    return f"samples/{period_start:%Y-%m}/sample-{invoice_id}.{format_name}"


def write_documents(
    connection: psycopg.Connection,
    tenant_id: str,
    period_start: date,
    store: ObjectStore,
    *,
    largest_attachment: int,
) -> None:
    """Write and record the missing files of the month's numbered invoices, credit notes and revisions of a tenant.

    Their e-mails can be sent afterwards, with a PDF of at most ``largest_attachment`` bytes. The same invoice gives the same bytes. If a
    run is killed before it records a file, the next run writes the file again.
    """
    with tenant_transaction(connection, [tenant_id]):
        rows = _SQL.rows(connection, "unwritten_documents", tenant_id=tenant_id, period_start=period_start)
    for row in rows:
        invoice = stored_document(row)
        written = [
            {
                "invoice_id": row["invoice_id"],
                "tenant_id": tenant_id,
                "revision": row["revision"],
                "format": format_name,
                "location": store.write(document_key(invoice, format_name), content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
            for format_name in FORMATS
            if (content := render(invoice, format_name, store))
        ]
        with tenant_transaction(connection, [tenant_id]), connection.cursor() as cursor:
            cursor.executemany(_SQL["record_document"], written)
            pdf = next(document for document in written if document["format"] == "pdf")
            _SQL.execute(
                cursor,
                "record_letter_file",
                **pdf,
                letter_id=letter_id(row["invoice_id"], row["revision"]),
                largest=largest_attachment,
            )


def write_sample_documents(
    connection: psycopg.Connection, tenant_id: str, period_start: date, store: ObjectStore
) -> None:
    """Write the files of the tenant's draft, marked as a sample. They are not recorded as documents of an invoice."""
    with tenant_transaction(connection, [tenant_id]):
        rows = _SQL.rows(connection, "sample_drafts", tenant_id=tenant_id, period_start=period_start)
    for row in rows:
        for format_name in FORMATS:
            key = sample_key(period_start, row["invoice_id"], format_name)
            store.write(key, render(stored_document(row), format_name, store, sample=True))
