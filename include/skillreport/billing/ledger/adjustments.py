"""Adjustments of receivables in the database: fees, write-offs and recoveries. Each is recorded once and never changes.

Functions run in the caller's tenant transaction. They lock the invoice, as payments and credit notes do.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.booking import keep_open, open_yen
from include.skillreport.billing.ledger.recoveries import (
    AdjustmentAuthor,
    insert_adjustment,
    load_adjustments,
)
from include.skillreport.billing.ledger.shown_payments import show_payments
from include.skillreport.billing.ledger.stored_invoice import (
    StoredInvoice,
    load_credits,
    lock_invoice,
)
from include.skillreport.billing.money import YEN, RoundingMode, has_minor_units, round_to_minor_unit
from include.skillreport.billing.receivables.adjustment import (
    Adjustment,
    AdjustmentKind,
    fee,
    require_day,
    require_fee,
    taken_back,
    write_off,
)
from include.skillreport.billing.state import Act, invoice_label, refusal_of_take_back, require
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

_SAME_ENTERED = {
    AdjustmentKind.FEE: "SAME_FEE_ENTERED",
    AdjustmentKind.WRITE_OFF: "SAME_WRITE_OFF_ENTERED",
}


def record_fee(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    amount: Decimal | None,
    entered: AdjustmentAuthor,
    *,
    today: date,
) -> Adjustment:
    """Record the fee that the payer's bank kept, up to the open amount. None: all of it, if ``fee_tolerance`` allows it.

    A retry returns the recorded fee.
    :raises BillingError: the invoice is not open or has no payment, the amount or the day is impossible, or another run has recorded
        the same fee of the same day.
    """
    stored, known = _locked(connection, Act.FEE_DIFFERENCE, stored, entered.execution_id)
    if known:
        return known[0]
    invoice, open_amount = stored.invoice, stored.state.open_amount
    amount = fee_amount(stored, amount, terms.settings.fee_tolerance)
    require_day(invoice, entered.day, today)
    _require_new(connection, stored, AdjustmentKind.FEE, amount, entered.day)
    adjustment = fee(
        invoice,
        stored.inputs,
        load_credits(connection, stored),
        round_to_minor_unit(amount, invoice.currency, RoundingMode.HALF_UP),
        as_purchase=terms.settings.accounting.fees.treated_as == "purchase",
        yen=open_yen(connection, stored) if amount == open_amount else None,
    )
    return _record(connection, stored, adjustment, entered)


def record_write_off(
    connection: psycopg.Connection,
    stored: StoredInvoice,
    amount: Decimal | None,
    entered: AdjustmentAuthor,
    *,
    today: date,
) -> Adjustment:
    """Write off an amount; None: all that is open. A retry returns the recorded write-off.

    :raises BillingError: the amount exceeds the open one, the day is impossible, or another run has written off the same amount on
        that day.
    """
    stored, known = _locked(connection, Act.WRITE_OFF, stored, entered.execution_id)
    if known:
        return known[0]
    invoice, open_amount = stored.invoice, stored.state.open_amount
    amount = write_off_amount(stored, amount)
    require_day(invoice, entered.day, today)
    _require_new(connection, stored, AdjustmentKind.WRITE_OFF, amount, entered.day)
    adjustment = write_off(
        invoice,
        stored.inputs,
        load_credits(connection, stored),
        round_to_minor_unit(amount, invoice.currency, RoundingMode.HALF_UP),
        deducts_tax=entered.fact is not None,
        yen=open_yen(connection, stored) if amount == open_amount else None,
    )
    return _record(connection, stored, adjustment, entered)


def take_back(
    connection: psycopg.Connection,
    stored: StoredInvoice,
    kind: AdjustmentKind,
    entered: AdjustmentAuthor,
    *,
    today: date,
) -> list[Adjustment]:
    """Take back all fees, or the write-off, of an invoice. A retry returns the recorded result.

    :raises BillingError: there is none, a part of the write-off was recovered, or the day is impossible.
    """
    stored, known = _locked(connection, Act.TAKE_BACK_ADJUSTMENT, stored, entered.execution_id)
    if known:
        return known
    if error := refusal_of_take_back(stored.state, kind):
        raise error
    recovered = load_adjustments(connection, stored.invoice_id, AdjustmentKind.RECOVERY)
    if kind is AdjustmentKind.WRITE_OFF and sum((each.amount for each in recovered), Decimal(0)):
        raise BillingError(
            "RECOVERED",
            f"{invoice_label(stored.invoice.number)}に{kind.label}の回収があります。先に「入金の取り消し」で、回収の入金を取り消してください",
        )
    require_day(stored.invoice, entered.day, today)
    adjustments = taken_back(load_adjustments(connection, stored.invoice_id, kind))
    return [_record(connection, stored, adjustment, entered) for adjustment in adjustments]


def fee_amount(stored: StoredInvoice, amount: Decimal | None, tolerance: int) -> Decimal:
    """The fee to record: the entered amount, or all that is open up to ``tolerance`` yen. Pure.

    :raises BillingError: the amount is impossible or missing.
    """
    invoice, open_amount = stored.invoice, stored.state.open_amount
    if amount is None:
        amount = open_amount
        _require_tolerable(invoice, amount, tolerance)
    if amount > open_amount:
        raise BillingError(
            "WRONG_AMOUNT",
            f"手数料 {amount:,f} {invoice.currency} が、{invoice_label(invoice.number)}の残り {open_amount:,f} {invoice.currency} を"
            "超えます。額を直してください",
        )
    require_fee(invoice, stored.inputs, amount, earlier=stored.state.fee_total)
    return amount


def write_off_amount(stored: StoredInvoice, amount: Decimal | None) -> Decimal:
    """The amount to write off: the entered one, or all that is open. Pure. :raises BillingError: it exceeds the open amount."""
    invoice, open_amount = stored.invoice, stored.state.open_amount
    amount = open_amount if amount is None else amount
    if amount > open_amount or not has_minor_units(amount, invoice.currency):
        raise BillingError(
            "WRONG_AMOUNT",
            f"貸倒れの額 {amount:,f} {invoice.currency} は、{invoice_label(invoice.number)}の残り {open_amount:,f} {invoice.currency} "
            "までの額にし、通貨の最小単位に合わせてください",
        )
    return amount


def _require_new(
    connection: psycopg.Connection, stored: StoredInvoice, kind: AdjustmentKind, amount: Decimal, day: date
) -> None:
    """Check for duplicates. :raises BillingError: another run has recorded the same amount on the same day, and it was not taken back."""
    same = {"invoice_id": stored.invoice_id, "kind": kind, "amount": amount, "accrued_on": day}
    if _SQL.rows(connection, "same_adjustments", **same):
        invoice = stored.invoice
        raise BillingError(
            _SAME_ENTERED[kind],
            f"{invoice_label(invoice.number)}に、{day} の{kind.label} {amount:,f} {invoice.currency} は記録済みです。"
            "もう 1 件あるなら、その日付で記録するか、同じ日なら取り消してから合計の額で記録してください",
        )


def _require_tolerable(invoice: Invoice, rest: Decimal, tolerance: int) -> None:
    """Check that the rest may be the fee without an entered amount. :raises BillingError: no yen, or more than the tolerance."""
    if invoice.currency == YEN and rest <= tolerance:
        return
    cause = f"{tolerance:,} 円を超える" if invoice.currency == YEN else "円の請求書ではない"
    raise BillingError(
        "AMOUNT_NEEDED",
        f"{invoice_label(invoice.number)}の残りは {rest:,f} {invoice.currency} です。"
        f"{cause}ため、手数料の額を「手数料の額」（fee_amount）に書いてください",
    )


def _locked(
    connection: psycopg.Connection, act: Act, stored: StoredInvoice, execution_id: str
) -> tuple[StoredInvoice, list[Adjustment]]:
    """The locked invoice, and the records of an earlier attempt of the run. Keeps the month open until the transaction ends.

    :raises BillingError: the invoice's state rejects the act.
    """
    keep_open(connection)
    stored = lock_invoice(connection, stored)
    rows = _SQL.rows(
        connection, "adjustments_of_run", invoice_id=stored.invoice_id, execution_id=execution_id
    )
    if rows:
        return stored, [Adjustment.model_validate(row["content"]) for row in rows]
    require(act, stored.state)
    return stored, []


def _record(
    connection: psycopg.Connection, stored: StoredInvoice, adjustment: Adjustment, entered: AdjustmentAuthor
) -> Adjustment:
    insert_adjustment(connection, stored.invoice_id, adjustment, entered)
    show_payments(connection, stored.invoice_id)
    return adjustment
