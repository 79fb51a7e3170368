"""Payments from transfers: automatic ones, ones that a user confirmed, and ones that the bank cancelled.

Functions run in the caller's transaction, in the context of its tenants, which see only their own transfers. The trigger
``settle_transfer`` of ``batch.payment`` rejects payments that exceed their transfer (``transfers.transfers_refused``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.adjustments import record_fee
from include.skillreport.billing.ledger.payments import (
    find_payables,
    lock_payments,
    record_payments,
    take_back_payment,
)
from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
from include.skillreport.billing.ledger.stored_invoice import find_invoice
from include.skillreport.billing.ledger.transfers import LOCK
from include.skillreport.billing.money import YEN
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

METHOD = "銀行振込"

Remarks = defaultdict[str, list[str]]


@dataclass(frozen=True)
class TransferPart:
    """The part of a transfer for one invoice: yen on the bank's day (Asia/Tokyo), and the fee that the payer's bank kept.

    ``payment_id``: an entered payment that the part equals; in an automatic part, a payment that the bank's cancellation takes back.
    ``is_other``: a user saw the entered payments of the same amount, and it is none of them.
    """

    transfer_id: str
    tenant_id: str
    number: str
    paid_on: date
    amount: Decimal
    fee: Decimal = Decimal(0)
    payment_id: str | None = None
    is_other: bool = False


@dataclass(frozen=True)
class Recorder:
    """The user, the run and the day (Asia/Tokyo) of a record."""

    terms: Terms
    today: date
    person: str
    execution_id: str


def automatic_parts(connection: psycopg.Connection) -> list[TransferPart]:
    """The automatic payments and cancellations of the transaction's tenants, by the last matching."""
    return [TransferPart(**row) for row in _SQL.rows(connection, "automatic_choices")]


def record_automatic(
    connection: psycopg.Connection, parts: Sequence[TransferPart], recorder: Recorder
) -> Remarks:
    """Record automatic payments and cancellations of several tenants, and delete their choices. Returns warnings.

    If an invoice has changed since the matching, the transfer stays open for the next matching.

    :raises BillingError: one of the payments is impossible. Each tenant's parts may be tried alone.
    """
    _hold(connection)
    remarks = Remarks(list)
    _SQL.execute(connection, "lock_invoices", numbers=[part.number for part in parts])
    payables = find_payables(connection, {part.number for part in parts})
    stale = {
        part.transfer_id: part.tenant_id
        for part in parts
        if part.payment_id is None
        and (
            part.number not in payables
            or payables[part.number].status == "void"
            or payables[part.number].open_amount != part.amount + part.fee
        )
    }
    _cancel(connection, [part.transfer_id for part in parts if part.payment_id], recorder, remarks)
    current = [part for part in parts if part.payment_id is None and part.transfer_id not in stale]
    _record(connection, current, recorder, remarks)
    _SQL.execute(connection, "delete_choices", transfer_ids=[part.transfer_id for part in parts])
    for transfer_id, tenant_id in sorted(stale.items()):
        remarks[tenant_id].append(f"振込 {transfer_id} は、請求書が変わったため、次の取込みで照合し直します")
    return remarks


def record_confirmed(
    connection: psycopg.Connection, parts: Sequence[TransferPart], recorder: Recorder
) -> Remarks:
    """Record parts of transfers that a user confirmed. Returns warnings. A retry changes nothing.

    :raises BillingError: an invoice cannot have its payment, or an entered payment belongs to another transfer.
    """
    _hold(connection)
    remarks = Remarks(list)
    transfer_ids = [part.transfer_id for part in parts]
    known = {
        (row["transfer_id"], row["number"])
        for row in _payments(connection, transfer_ids)
        if row["execution_id"] == recorder.execution_id
    }
    for part in parts:
        if part.payment_id:
            _link(connection, part)
    new = [each for each in parts if not each.payment_id and (each.transfer_id, each.number) not in known]
    _record(connection, new, recorder, remarks)
    _SQL.execute(connection, "delete_choices", transfer_ids=transfer_ids)
    return remarks


def _hold(connection: psycopg.Connection) -> None:
    """Lock order: take these locks before those of invoices and transfers."""
    lock_payments(connection, is_shared=True)
    _SQL.execute(connection, "keep_transfers", lock=LOCK)


def _record(
    connection: psycopg.Connection, parts: Sequence[TransferPart], recorder: Recorder, remarks: Remarks
) -> None:
    used = Counter(
        (row["transfer_id"], row["number"])
        for row in _payments(connection, [part.transfer_id for part in parts])
    )
    recorded = record_payments(
        connection,
        [
            Payment(
                part.number,
                part.paid_on,
                part.amount,
                YEN,
                METHOD,
                _reference(part, used[part.transfer_id, part.number]),
                transfer_id=part.transfer_id,
                is_other=part.is_other,
            )
            for part in parts
        ],
        source="bank",
        today=recorder.today,
        entered_by=recorder.person,
        execution_id=recorder.execution_id,
    )
    _record_fees(connection, [part for part in parts if part.fee], recorder)
    with_fee = {part.number for part in parts if part.fee}
    for part, payment in zip(parts, recorded, strict=True):
        if payment.remark and part.number not in with_fee:
            remarks[part.tenant_id].append(payment.remark)


def _record_fees(connection: psycopg.Connection, parts: Sequence[TransferPart], recorder: Recorder) -> None:
    """Record the fees of recorded payments, on the payment's day, but not before the invoice."""
    payment_ids = {
        (row["transfer_id"], row["number"]): row["payment_id"]
        for row in _payments(connection, [part.transfer_id for part in parts])
        if row["reversed_at"] is None
    }
    for part in parts:
        stored = find_invoice(connection, part.number)
        entered = AdjustmentAuthor(
            max(part.paid_on, stored.invoice.issued_on or part.paid_on),
            f"振込 {part.transfer_id} の振込手数料",
            recorder.person,
            recorder.execution_id,
            payment_id=payment_ids[part.transfer_id, part.number],
        )
        record_fee(connection, recorder.terms, stored, part.fee, entered, today=recorder.today)


def _cancel(
    connection: psycopg.Connection, transfer_ids: Sequence[str], recorder: Recorder, remarks: Remarks
) -> None:
    """Take back the payments of cancelled transfers, with their fees. :raises BillingError: money of a payment was refunded."""
    numbers = [row["number"] for row in _payments(connection, transfer_ids)]
    if not numbers:
        return
    _SQL.execute(connection, "lock_invoices", numbers=numbers)
    for row in _payments(connection, transfer_ids):
        if row["reversed_at"] is not None:
            continue
        reason = f"振込 {row['transfer_id']} を銀行が取り消したため"
        take_back_payment(connection, row, reason, recorder.person, recorder.execution_id)
        remarks[row["tenant_id"]].append(
            f"銀行が振込 {row['transfer_id']} を取り消したため、請求書 {row['number']} の入金を取り消しました"
        )


def _link(connection: psycopg.Connection, part: TransferPart) -> None:
    known = [row["payment_id"] for row in _payments(connection, [part.transfer_id])]
    linked = _SQL.column(connection, "link_payment", payment_id=part.payment_id, transfer_id=part.transfer_id)
    if not linked and part.payment_id not in known:
        raise BillingError(
            "PAYMENT_TAKEN",
            f"請求書 {part.number} の記録済みの入金は、取り消されたか、別の振込に結び付いています。照合し直してください",
        )


def _payments(connection: psycopg.Connection, transfer_ids: Sequence[str]) -> list[dict[str, Any]]:
    return _SQL.rows(connection, "payments_of_transfers", transfer_ids=list(transfer_ids))


def _reference(part: TransferPart, used: int) -> str:
    """The transfer's id, with a number after a payment that was taken back, because an invoice has each reference once."""
    return f"{part.transfer_id}-{used + 1}" if used else part.transfer_id
