"""Payments that the application itself records by marking an invoice as PAID (setting ``payment_source: host``)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.billing.ledger.booking import open_yen
from include.skillreport.billing.ledger.stored_invoice import find_by_id
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def all_paid_in_application(platform: psycopg.Connection, numbers: Iterable[str]) -> set[str]:
    """The numbers of these invoices that the application itself marks as PAID. Acts as ``batch_platform``."""
    return set(_SQL.column(platform, "all_paid_in_application", numbers=list(numbers)))


def record_application_payment(
    connection: psycopg.Connection, invoice_id: str, *, today: date, execution_id: str
) -> None:
    """Record the payment of an invoice that the application itself marks as PAID, so that a credit note shows as owed back.

    The payment is the open amount, on the application's ``paid_date`` as a day in Japan, otherwise on ``today``. The caller has locked
    the invoice.
    """
    _SQL.execute(
        connection,
        "record_application_payment",
        invoice_id=invoice_id,
        yen=open_yen(connection, find_by_id(connection, invoice_id)),
        today=today,
        execution_id=execution_id,
    )
