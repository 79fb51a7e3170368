"""The payment state of invoices in the application's rows."""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.skillreport.billing.ledger.finalization import write_host_rows
from include.skillreport.billing.ledger.overdue_letters import withdraw_reminders
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def show_payments(connection: psycopg.Connection, *invoice_ids: str) -> None:
    """Write the payment state into the application's rows: PAID if nothing is open, otherwise the paid part. Withdraw waiting reminders.

    The caller has locked the invoices. PAID from the application itself stays.
    """
    if not invoice_ids:
        return
    states = _SQL.rows(connection, "settled_invoices", invoice_ids=list(invoice_ids))
    paid = set(_SQL.column(connection, "lock_host_rows", invoice_ids=list(invoice_ids)))
    settled = [
        row["invoice_id"]
        for row in states
        if row["is_settled"] and not row["marked_paid"] and row["invoice_id"] not in paid
    ]
    reopened = [row["invoice_id"] for row in states if row["marked_paid"] and not row["is_settled"]]
    if settled:
        _SQL.execute(connection, "mark_paid", invoice_ids=settled, is_marked=True)
    if reopened:
        _SQL.execute(connection, "mark_paid", invoice_ids=reopened, is_marked=False)
        _SQL.execute(connection, "unmark_host_rows", invoice_ids=reopened)
    write_host_rows(connection, invoice_ids)
    # A waiting reminder states an amount that is no longer open.
    withdraw_reminders(connection, invoice_ids)
