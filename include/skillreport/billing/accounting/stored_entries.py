"""The entries of the books in the database, as ``BookEntry``. The role is batch_platform."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.accounting.entries import (
    BookEntry,
    Booking,
    CreditedInvoice,
    Receipt,
    postings,
)
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.inputs import ExchangeRate
from include.skillreport.billing.ledger.stored_invoice import stored_document
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.adjustment import Adjustment
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

_STREAM_ROWS = 500


def entries_of_month(
    platform: psycopg.Connection, month: date, *, with_receipts: bool
) -> Iterator[BookEntry]:
    """The entries of a month's files in their order, read one by one."""
    period = Period.month_of(month)
    for _, entry in _entries(platform, period.start, period.end, with_receipts=with_receipts):
        yield entry


def booked_yen(platform: psycopg.Connection, invoice_ids: Collection[str], until: date) -> dict[str, Decimal]:
    """The yen of invoices in the books at the end of a day, with their credit notes, adjustments and receipts; 0 without entries.

    :raises BillingError: a foreign document has no exchange rate.
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    if invoice_ids:
        entries = _entries(platform, date.min, until, with_receipts=True, invoice_ids=list(invoice_ids))
        for invoice_id, entry in entries:
            sums[invoice_id] += sum(posting.gross for posting in postings(entry))
    return sums


def _entries(
    platform: psycopg.Connection,
    first_day: date,
    last_day: date,
    *,
    with_receipts: bool,
    invoice_ids: list[str] | None = None,
) -> Iterator[tuple[str, BookEntry]]:
    """The entries with the ids of their invoices, of all invoices or of these. A credit note belongs to its invoice."""
    with platform.cursor(name="book_entries", row_factory=dict_row) as cursor:
        cursor.itersize = _STREAM_ROWS
        _SQL.execute(
            cursor,
            "book_entries",
            first_day=first_day,
            last_day=last_day,
            with_receipts=with_receipts,
            invoice_ids=invoice_ids,
        )
        for row in cursor:
            yield row["invoice_id"], _entry(row)


def _entry(row: dict[str, Any]) -> BookEntry:
    return BookEntry(
        Booking(row["booking"]),
        row["status"],
        row["accrued_on"],
        row["booked_on"],
        row["service_day"],
        stored_document(row),
        row["partner_code"],
        row["exchange_rate"] and ExchangeRate.model_validate(row["exchange_rate"]),
        _credits(row),
        row["adjustment"] and Adjustment.model_validate(row["adjustment"]),
        row["payment_id"] and Receipt(row["paid_amount"], row["paid_yen"], row["method"], row["reference"]),
    )


def _credits(row: dict[str, Any]) -> CreditedInvoice | None:
    """The invoice of a credit note in a foreign currency."""
    if row["original_content"] is None:
        return None
    return CreditedInvoice(
        Invoice.model_validate(row["original_content"]),
        tuple(map(Invoice.model_validate, row["earlier_credits"])),
    )
