"""The lock against closing months during entries, and the yen of an invoice in the books.

Functions run in the caller's tenant transaction.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import psycopg

from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_by_id, load_credits
from include.skillreport.billing.money import YEN, in_yen
from include.skillreport.billing.receivables.adjustment import yen_per_unit
from include.skillreport.billing.receivables.booked_yen import yen_of_documents
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# Lock order: take this lock before those of invoices and of a month's files. A booking transaction holds it in shared mode until its end
# (so do the triggers ``book``). Closing a month holds it exclusively.
HAND_OVER_LOCK = (180201, 0)


def keep_open(connection: psycopg.Connection) -> None:
    """Keep all months open until the transaction ends. Lock order: take this lock before any invoice's."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", HAND_OVER_LOCK)


def open_yen(connection: psycopg.Connection, stored: StoredInvoice) -> Decimal:
    """The yen in the books of a locked invoice's open amount."""
    if stored.invoice.currency == YEN:
        return stored.state.open_amount
    credits = load_credits(connection, stored)
    documents = yen_of_documents(stored.invoice, credits, yen_per_unit(stored.inputs))
    taken: Decimal = _SQL.row(connection, "yen_taken", invoice_id=stored.invoice_id)[0]
    return documents - taken


def yen_of_payment(connection: psycopg.Connection, invoice_id: str, payment: Payment) -> Decimal:
    """The yen of a payment or a refund of the locked invoice, at the invoice's rate.

    The payment of the entire open amount takes all its yen.
    """
    if payment.currency == YEN:
        return payment.amount
    stored = find_by_id(connection, invoice_id)
    sign = -1 if payment.kind == "refund" else 1
    left = in_yen(stored.state.open_amount - sign * payment.amount, yen_per_unit(stored.inputs))
    return sign * (open_yen(connection, stored) - left)
