"""Finalising: invoices get their number and dates, and the application gets its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import psycopg

from include.billing.periods import Period
from include.billing.terms import Terms
from include.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def due_date(period: Period, issued_on: date, months: int) -> date:
    """The end of the month ``months`` after the billing month, but not before the end of the month of issue."""
    month = period
    for _ in range(months):
        month = Period.month_of(month.next_day)
    return max(month.end, Period.month_of(issued_on).end)


def finalize(
    connection: psycopg.Connection,
    terms: Terms,
    invoice_ids: Sequence[str],
    *,
    issued_on: date,
    due_on: date | None = None,
    approved_by: Mapping[str, str] | None = None,
) -> dict[str, str | None]:
    """Finalise drafts in this order; returns numbers by invoice id. A total of 0 gets no number.

    The transaction locks the month's counter until it ends.
    :raises BillingError: the terms are a sample.
    """
    if not invoice_ids:
        return {}
    terms.require_no_sample()
    numbers: dict[str, str | None] = {}
    with connection.cursor() as cursor:
        cursor.executemany(
            _SQL["finalize_invoice"],
            [
                {
                    "invoice_id": invoice_id,
                    "issued_on": issued_on,
                    "due_on": due_on,
                    "approved_by": (approved_by or {}).get(invoice_id),
                }
                for invoice_id in invoice_ids
            ],
            returning=True,
        )
        while True:
            numbers.update(cursor.fetchall())
            if not cursor.nextset():
                return numbers


def write_host_rows(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    """Write the application's rows for these invoices."""
    _SQL.execute(connection, "write_host_billing", invoice_ids=list(invoice_ids))
