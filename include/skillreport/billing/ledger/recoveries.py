"""Rows of ``batch.adjustment``, and the recovery of a write-off: a payment of a written-off amount restores the receivable.

Functions run in the caller's transaction, which has locked the invoice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.receivables.adjustment import (
    Adjustment,
    AdjustmentKind,
    amount_taken_back,
    recovered_amount,
    recovery,
)
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


@dataclass(frozen=True)
class AdjustmentAuthor:
    """The user, run, day (Asia/Tokyo) and reason of an adjustment. ``fact`` is a fact of 施行令第59条, for a write-off.

    ``payment_id`` is the payment of a recovery.
    """

    day: date
    reason: str
    entered_by: str
    execution_id: str
    fact: str | None = None
    payment_id: str | None = None


def insert_adjustment(
    connection: psycopg.Connection, invoice_id: str, adjustment: Adjustment, entered: AdjustmentAuthor
) -> None:
    """Insert an adjustment, and update the sums on its invoice."""
    _SQL.execute(
        connection,
        "insert_adjustment",
        invoice_id=invoice_id,
        kind=adjustment.kind,
        accrued_on=entered.day,
        amount=adjustment.amount,
        content=Jsonb(adjustment.model_dump(mode="json")),
        fact=entered.fact,
        reason=entered.reason,
        payment_id=entered.payment_id,
        entered_by=entered.entered_by,
        execution_id=entered.execution_id,
    )


def load_adjustments(
    connection: psycopg.Connection, invoice_id: str, *kinds: AdjustmentKind
) -> list[Adjustment]:
    """The adjustments of an invoice of these kinds, in the order of their entry."""
    rows = _SQL.rows(connection, "adjustments_of_invoice", invoice_id=invoice_id, kinds=list(kinds))
    return [Adjustment.model_validate(row["content"]) for row in rows]


def book_recovery(
    connection: psycopg.Connection, invoice_id: str, currency: str, entered: AdjustmentAuthor
) -> None:
    """Record the recovery of a write-off by a recorded payment: the amount that is now overpaid, or all of the write-off.

    It is booked on the payment's day, but not before the write-off.
    """
    state = _SQL.rows(connection, "payment_state", invoice_id=invoice_id)[0]
    amount = recovered_amount(state["written_off_total"], state["open_amount"])
    if not amount:
        return
    written_off = load_adjustments(connection, invoice_id, AdjustmentKind.WRITE_OFF, AdjustmentKind.RECOVERY)
    (since,) = _SQL.column(connection, "last_write_off", invoice_id=invoice_id)
    entered = replace(entered, day=max(entered.day, since))
    insert_adjustment(connection, invoice_id, recovery(written_off, amount, currency), entered)


def take_back_adjustments(
    connection: psycopg.Connection,
    invoice_id: str,
    payment_id: str,
    reason: str,
    entered_by: str,
    execution_id: str,
) -> None:
    """Take back the adjustments of a reversed payment: the recovery of a write-off, and the fee of a bank transfer.

    They are booked like the reversal: on its day if the payment's month is closed, otherwise on their own day. Fees that were already
    taken back do not change.
    """
    rows = _SQL.rows(connection, "adjustments_of_payment", payment_id=payment_id)
    if not rows:
        return
    # A payment has one adjustment. Its sum is 0 after it was taken back.
    adjusted = sum((row["amount"] for row in rows), Decimal(0))
    if amount_taken_back(adjusted, rows[-1]["fee_total"]):
        entered = AdjustmentAuthor(
            rows[-1]["taken_back_on"], reason, entered_by, execution_id, payment_id=payment_id
        )
        adjustment = Adjustment.model_validate(rows[-1]["content"])
        insert_adjustment(connection, invoice_id, adjustment.negated(), entered)
