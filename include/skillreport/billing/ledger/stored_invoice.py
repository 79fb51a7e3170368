"""Invoices and credit notes as the database stores them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.documents.invoice import Invoice, revision_suffix
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.periods import Period
from include.skillreport.billing.state import InvoiceState
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

DoneByRun = Literal["voided", "corrected", "letter_decided", "credit_entered", "credits_decided"]


@dataclass(frozen=True)
class StoredInvoice:
    """An invoice or credit note of the database, with its newest document. ``inputs`` are the values of the invoice's calculation.

    ``leaves_on`` is the planned day of the newest document's e-mail; None: it has none. ``execution_id`` calculated or issued it.
    """

    invoice_id: str
    tenant_id: str
    state: InvoiceState
    input_hash: str
    execution_id: str
    leaves_on: date | None
    invoice: Invoice
    inputs: BillingInputs


def find_invoice(connection: psycopg.Connection, number: str) -> StoredInvoice:
    """The invoice or credit note with this number. :raises BillingError: the transaction's tenants have none."""
    stored = find_by_number(connection, number)
    if stored is None:
        raise BillingError("NO_SUCH_INVOICE", f"請求書 {number} は存在しません")
    return stored


def find_by_number(connection: psycopg.Connection, number: str) -> StoredInvoice | None:
    """The invoice or credit note with this number, or None if the transaction's tenants have none."""
    return _find(connection, number=number)


def find_by_id(connection: psycopg.Connection, invoice_id: str) -> StoredInvoice:
    """The invoice or credit note. :raises BillingError: the transaction's tenants have none with this id."""
    stored = _find(connection, invoice_id=invoice_id)
    if stored is None:
        raise BillingError("NO_SUCH_INVOICE", "請求書は存在しません")
    return stored


def invoice_of_month(connection: psycopg.Connection, tenant_id: str, period: Period) -> StoredInvoice:
    """The tenant's live invoice of the month, possibly a draft. :raises BillingError: there is none."""
    stored = _find(connection, tenant_id=tenant_id, period_start=period.start)
    if stored is None:
        raise BillingError("NO_SUCH_INVOICE", f"{period.start:%Y-%m} の有効な請求書がありません")
    return stored


def load_credits(connection: psycopg.Connection, stored: StoredInvoice) -> list[Invoice]:
    """The final credit notes of an invoice, in the order of their numbers."""
    return [
        stored_document(row) for row in _SQL.rows(connection, "load_credits", invoice_id=stored.invoice_id)
    ]


def lock_invoice(connection: psycopg.Connection, stored: StoredInvoice) -> StoredInvoice:
    """The present invoice, locked until the transaction ends. Another operation may have voided or credited it since it was read."""
    _SQL.execute(connection, "lock_by_id", invoice_ids=[stored.invoice_id])
    return find_by_id(connection, stored.invoice_id)


def lock_by_id(connection: psycopg.Connection, invoice_id: str) -> StoredInvoice | None:
    """As ``lock_invoice``; None if its draft was deleted."""
    _SQL.execute(connection, "lock_by_id", invoice_ids=[invoice_id])
    return _find(connection, invoice_id=invoice_id)


def done_by_run(
    connection: psycopg.Connection, what: DoneByRun, tenant_id: str, period: Period, execution_id: str
) -> list[dict[str, Any]]:
    """A run's work in the tenant's month, regardless of later changes: the rows of the statement ``<what>_by_run``."""
    month = {"tenant_id": tenant_id, "period_start": period.start}
    return _SQL.rows(connection, f"{what}_by_run", **month, execution_id=execution_id)


def stored_document(row: dict[str, Any]) -> Invoice:
    """The document of an invoice row: its content with the final number and dates."""
    return Invoice.model_validate(row["content"]).finalized(row["number"], row["issued_on"], row["due_on"])


def letter_id(invoice_id: str, revision: int) -> str:
    """The id in ``HIS_NotificationLog`` of the e-mail about a document."""
    return f"invoice-{invoice_id}{revision_suffix(revision)}"


def _find(
    connection: psycopg.Connection,
    *,
    number: str | None = None,
    invoice_id: str | None = None,
    tenant_id: str | None = None,
    period_start: date | None = None,
) -> StoredInvoice | None:
    row = _SQL.execute(
        connection.cursor(row_factory=dict_row),
        "find_invoice",
        number=number,
        invoice_id=invoice_id,
        tenant_id=tenant_id,
        period_start=period_start,
    ).fetchone()
    return stored_invoice(row) if row else None


def stored_invoice(row: dict[str, Any]) -> StoredInvoice:
    """The invoice of a row with its document, inputs and state."""
    return StoredInvoice(
        invoice_id=row["invoice_id"],
        tenant_id=row["tenant_id"],
        state=InvoiceState.of(row),
        input_hash=row["input_hash"],
        execution_id=row["execution_id"],
        leaves_on=row["leaves_on"],
        invoice=stored_document(row),
        inputs=BillingInputs.model_validate(row["inputs"]),
    )
