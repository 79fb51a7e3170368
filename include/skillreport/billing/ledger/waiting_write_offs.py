"""Write-offs above a user's limit, which wait for another user's approval.

Functions run in the caller's tenant transaction. An invoice has at most one waiting write-off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.adjustments import record_write_off
from include.skillreport.billing.ledger.entries import excess, first_opened, wait_reason, withdraw_entries
from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, lock_invoice
from include.skillreport.billing.ledger.waiting_credits import waiting_people
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.adjustment import Adjustment
from include.skillreport.billing.second_person import WaitingEntry, approval_refusal
from include.skillreport.billing.state import invoice_label
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def write_off_or_wait(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    amount: Decimal | None,
    entered: AdjustmentAuthor,
    *,
    today: date,
) -> Adjustment | str:
    """Write off an amount (``record_write_off``), or let it wait. Returns the adjustment, or why it waits.

    The transaction holds the locks of entries. A retry changes nothing.
    :raises BillingError: as ``record_write_off``, or another write-off or a credit note of the invoice waits.
    """
    person, run = entered.entered_by, entered.execution_id
    known = _waiting(connection, stored, run)
    if known and known["execution_id"] == run:
        if known["decided_in"] is None:
            return wait_reason(connection, terms, stored.tenant_id, person)
        return f"この貸倒れは、{'承認されています' if known['approved_by'] else '取り下げられています'}"
    if known and known["decided_in"] is None:
        raise BillingError(
            "SAME_WRITE_OFF_ENTERED",
            f"{invoice_label(stored.invoice.number)}には、{known['entered_by']} が登録した承認待ちの貸倒れ {known['amount']:,f} "
            f"{stored.invoice.currency} があります。承認するか、取り消してください",
        )
    if waiting_people(connection, stored):
        raise BillingError(
            "CREDIT_WAITS",
            f"{invoice_label(stored.invoice.number)}に、承認待ちの返還があります。先に承認するか、取り下げてください",
        )
    with connection.transaction() as attempt:
        recorded = record_write_off(connection, stored, amount, entered, today=today)
        month = Period.month_of(stored.invoice.period_start)
        reason = excess(connection, terms, stored.tenant_id, month, person)
        if reason:
            raise psycopg.Rollback(attempt)
    if reason is None:
        return recorded
    _SQL.execute(
        connection,
        "insert_write_off",
        invoice_id=stored.invoice_id,
        accrued_on=entered.day,
        amount=recorded.amount,
        fact=entered.fact,
        evidence=entered.reason,
        entered_by=person,
        execution_id=run,
    )
    return reason


def approve_write_off(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    *,
    approver: str,
    execution_id: str,
    today: date,
) -> Adjustment | None:
    """Record the waiting write-off of an invoice as it was entered; None if there is none. A retry returns the recorded one.

    :raises BillingError: the approver entered it, it was entered after the run was first opened, or the invoice has changed since.
    """
    stored = lock_invoice(connection, stored)
    row = _waiting(connection, stored, execution_id)
    if row is None or (row["decided_in"] is not None and row["approved_by"] is None):
        return None
    if row["decided_in"] is None:
        present = stored.state.open_amount
        entry = WaitingEntry(
            "write_off",
            f"承認待ちの貸倒れ「{row['evidence']}」",
            [row["entered_by"]],
            row["entered_at"],
            seen=row["open_amount"],
            present=present,
            difference=f"残りが {row['open_amount']:,f} {stored.invoice.currency} から {present:,f} へ変わりました",
        )
        opened_at = first_opened(connection, execution_id)
        if error := approval_refusal(entry, approver, terms.settings.second_person, opened_at):
            raise error
    entered = AdjustmentAuthor(
        row["accrued_on"], row["evidence"], row["entered_by"], execution_id, fact=row["fact"]
    )
    recorded = record_write_off(connection, stored, row["amount"], entered, today=today)
    if row["decided_in"] is None:
        named = {"write_off_id": row["write_off_id"], "approver": approver, "execution_id": execution_id}
        _SQL.execute(connection, "approve_write_off", **named)
    return recorded


def withdraw_write_off(
    connection: psycopg.Connection, stored: StoredInvoice, reason: str, *, person: str, execution_id: str
) -> bool:
    """Withdraw the waiting write-off of an invoice. Returns True if there was one, even in an earlier attempt."""
    ids = [lock_invoice(connection, stored).invoice_id]
    known = _waiting(connection, stored, execution_id)
    if known and known["decided_in"] == execution_id:
        return True
    return bool(withdraw_entries(connection, "write_off", ids, reason, execution_id, person))


def _waiting(
    connection: psycopg.Connection, stored: StoredInvoice, execution_id: str
) -> Mapping[str, Any] | None:
    """The waiting write-off of an invoice. One that this run entered or decided comes first."""
    rows = _SQL.rows(connection, "waiting_write_off", invoice_id=stored.invoice_id, execution_id=execution_id)
    own = [row for row in rows if execution_id in (row["execution_id"], row["decided_in"])]
    return next(iter(own or rows), None)
