"""Payments and refunds in the database: each is recorded once, and can be reversed or moved.

If an invoice's payments and credit notes reach its total, the application's row becomes PAID. Payments lock the invoice, as voids and
credit notes do. Functions run in the caller's tenant transaction, unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.booking import keep_open, yen_of_payment
from include.skillreport.billing.ledger.recoveries import (
    AdjustmentAuthor,
    book_recovery,
    take_back_adjustments,
)
from include.skillreport.billing.ledger.repeated_payments import require_other
from include.skillreport.billing.ledger.shown_payments import show_payments
from include.skillreport.billing.ledger.transfers import transfers_refused
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.payment import (
    Payable,
    Payment,
    RecordedPayment,
    require_acceptable,
    require_movable,
    require_payable,
    require_refundable,
    require_same,
    require_unpaid_in_application,
)
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# The first key of the tenants' advisory locks, unique among this product's locks. Lock order: after the lock against closing a month,
# before invoices.
_PAYMENTS_LOCK = 180205


def find_payables(connection: psycopg.Connection, numbers: Iterable[str]) -> dict[str, Payable]:
    """The documents with these numbers, by number: of the transaction's tenants, or as ``batch_platform`` of all."""
    rows = _SQL.rows(connection, "find_payable", numbers=list(numbers))
    # Drafts have no number, so a found document has a date.
    return {row["number"]: Payable(**row) for row in rows}


def find_recorded(
    connection: psycopg.Connection, payments: Iterable[Payment]
) -> dict[tuple[str, str], Payment]:
    """The recorded payments with these payments' references, including reversed ones, by number and reference. As ``find_payables``."""
    references = [payment.reference for payment in payments]
    rows = _SQL.rows(
        connection, "find_payments", payment_references=references, tenant_id=None, period_start=None
    )
    return {(row["number"], row["reference"]): _payment(row) for row in rows}


def former_invoiced_tenants(platform: psycopg.Connection, period: Period) -> list[str]:
    """The ids of inactive tenants with a numbered invoice of the month. Acts as ``batch_platform``."""
    return _SQL.column(platform, "former_invoiced_tenants", period_start=period.start)


def vanished_payers(platform: psycopg.Connection) -> list[tuple[str, str, str]]:
    """Id, code and name of deleted tenants with an invoice. Acts as ``batch_platform``."""
    return _SQL.execute(platform, "vanished_payers").fetchall()


def record_payments(
    connection: psycopg.Connection,
    payments: Sequence[Payment],
    *,
    source: Literal["operation", "file", "bank"],
    today: date,
    entered_by: str,
    execution_id: str,
    application_pays: bool = False,
) -> list[RecordedPayment]:
    """Record payments of the transaction's tenants, in order. A reference that the invoice already has changes nothing.

    ``application_pays``: the application is the source of payments (``payment_source: host``).
    :raises RepeatedPaymentError: the tenant has a payment of the same amount (``require_other``). :raises BillingError: a payment is
        impossible (``require_acceptable``), its reference belongs to another payment, or the application has its own payment of the
        invoice.
    """
    numbers = {payment.number for payment in payments}
    _lock(connection, numbers, is_shared=source == "bank")
    payables = find_payables(connection, numbers)
    require_other(connection, payments, payables)
    if application_pays:
        _require_unpaid_in_application(connection, payments)
    # A transfer's day is the bank's, even before the invoice.
    accepted = [
        require_payable(payment, payables.get(payment.number))
        if source == "bank"
        else require_acceptable(payment, payables.get(payment.number), today)
        for payment in payments
    ]
    are_new = _insert(
        connection,
        list(zip(accepted, payments, strict=True)),
        _PaymentOrigin(source, None, entered_by, execution_id),
    )
    entered = [
        (payment, is_new, not is_new and _is_reversed(connection, payment))
        for payment, is_new in zip(payments, are_new, strict=True)
    ]
    changed = {payable.invoice_id for payable, is_new in zip(accepted, are_new, strict=True) if is_new}
    show_payments(connection, *sorted(changed))
    after = find_payables(connection, numbers)
    return [
        RecordedPayment(
            payment.number, payment.currency, after[payment.number].open_amount, is_new, is_reversed
        )
        for payment, is_new, is_reversed in entered
    ]


def record_refund(
    connection: psycopg.Connection,
    refund: Payment,
    reason: str,
    *,
    today: date,
    entered_by: str,
    execution_id: str,
) -> RecordedPayment:
    """Record a refund of an overpaid invoice. A reference that the invoice already has changes nothing.

    :raises BillingError: the refund is impossible (``require_acceptable``), exceeds the overpaid amount, or its reference belongs to
        another payment.
    """
    _lock(connection, [refund.number])
    payable = require_acceptable(refund, find_payables(connection, [refund.number]).get(refund.number), today)
    if (refund.number, refund.reference) in find_recorded(connection, [refund]):
        is_reversed = _is_reversed(connection, refund)
        return RecordedPayment(
            refund.number, refund.currency, payable.open_amount, False, is_reversed, refund.noun
        )
    require_refundable(refund, payable)
    _insert(connection, [(payable, refund)], _PaymentOrigin("operation", reason, entered_by, execution_id))
    show_payments(connection, payable.invoice_id)
    return RecordedPayment(refund.number, refund.currency, payable.open_amount + refund.amount, is_new=True)


def overpaid_invoices(connection: psycopg.Connection, tenant_id: str, period: Period) -> list[str]:
    """The numbers of the tenant's overpaid invoices of the month, including credited ones."""
    return _SQL.column(connection, "overpaid_of_month", tenant_id=tenant_id, period_start=period.start)


def refunded_invoices(
    connection: psycopg.Connection, tenant_id: str, period: Period, reference: str
) -> list[str]:
    """The numbers of the tenant's invoices of the month that have a refund with this reference."""
    rows = _payments_of_month(connection, tenant_id, period, reference, None)
    return [row["number"] for row in rows if row["kind"] == "refund"]


def reverse_payment(
    connection: psycopg.Connection,
    tenant_id: str,
    period: Period,
    reference: str,
    reason: str,
    *,
    number: str | None = None,
    reversed_by: str,
    execution_id: str,
) -> RecordedPayment:
    """Reverse the payment or refund of the tenant's month with this reference. A retry changes nothing.

    ``number`` selects the invoice if several of the month have the reference.
    :raises BillingError: there is no such payment, there are several, another run has reversed it, its money was refunded, or the
        application still marks the invoice as PAID by its own payment.
    """
    row = _payment_of_month(connection, tenant_id, period, reference, number, execution_id)
    if (
        row["reversed_at"] is None
        and _SQL.row(connection, "is_applications_own", payment_id=row["payment_id"])[0]
    ):
        raise BillingError(
            "PAID_IN_APPLICATION",
            f"請求書 {row['number']} の参照番号 '{reference}' は、アプリ（HIS_TenantBilling）の入金です。アプリで入金済みの間は、"
            "取り消せません。誤りなら、先にアプリで入金済みを取り消してください",
        )
    take_back_payment(connection, row, reason, reversed_by, execution_id)
    after = find_payables(connection, [row["number"]])[row["number"]]
    return RecordedPayment(
        after.number, after.currency, after.open_amount, is_new=True, noun=_payment(row).noun
    )


def move_payment(
    connection: psycopg.Connection,
    tenant_id: str,
    period: Period,
    reference: str,
    target: str,
    reason: str,
    *,
    amount: Decimal | None = None,
    number: str | None = None,
    moved_by: str,
    execution_id: str,
    application_pays: bool = False,
) -> tuple[RecordedPayment, RecordedPayment]:
    """Reverse a payment of the tenant's month, and record it for the invoice ``target``. Returns both invoices.

    With ``amount``, only this part moves, and the rest is recorded again as ``reference-2``. Day, method and reference stay. A retry
    changes nothing. ``application_pays``: as in ``record_payments``.
    :raises BillingError: as ``reverse_payment``, or the other invoice cannot have the payment or has its reference already. The
        application's own payment may be moved.
    """
    row = _payment_of_month(connection, tenant_id, period, reference, number, execution_id, target=target)
    whole = _payment(row)
    payment = replace(whole, number=target, amount=amount or whole.amount)
    payables = find_payables(connection, [whole.number, target])
    payable = payables.get(target)
    payable = require_movable(whole, payment, payable if payable and payable.tenant_id == tenant_id else None)
    if row["reversed_at"] is None:
        # All checks come before the first change, because the caller's transaction continues after an error.
        if application_pays:
            _require_unpaid_in_application(connection, [payment])
        if (target, reference) in find_recorded(connection, [payment]):
            raise BillingError(
                "REFERENCE_TAKEN",
                f"請求書 {target} には参照番号 '{reference}' がすでにあるため、付け替えられません。"
                "入金を取り消し、別の参照番号で記録してください",
            )
        origin = _PaymentOrigin("operation", reason, moved_by, execution_id)
        with transfers_refused(), connection.transaction():
            take_back_payment(connection, row, reason, moved_by, execution_id)
            _insert(connection, [(payable, payment)], origin)
            if payment.amount < whole.amount:
                rest = _rest_of(connection, replace(whole, amount=whole.amount - payment.amount))
                _insert(connection, [(payables[whole.number], rest)], origin)
            show_payments(connection, payable.invoice_id, row["invoice_id"])
    after = find_payables(connection, [row["number"], target])
    source, moved = (
        RecordedPayment(each, payment.currency, after[each].open_amount, is_new=True)
        for each in (row["number"], target)
    )
    return source, moved


def lock_payments(connection: psycopg.Connection, *, is_shared: bool) -> None:
    """Lock the months against closing, and the payments of the transaction's tenants. Lock order: before invoices and payments.

    ``is_shared``: others may record transfers meanwhile.
    """
    keep_open(connection)
    _SQL.execute(connection, "lock_tenants", lock=_PAYMENTS_LOCK, is_shared=is_shared)


def _lock(connection: psycopg.Connection, numbers: Iterable[str], *, is_shared: bool = False) -> None:
    lock_payments(connection, is_shared=is_shared)
    _SQL.execute(connection, "lock_invoices", numbers=list(numbers))


def _is_reversed(connection: psycopg.Connection, payment: Payment) -> bool:
    """True if the recorded payment with this reference is reversed. :raises BillingError: it is another payment."""
    rows = _SQL.rows(
        connection,
        "find_payments",
        payment_references=[payment.reference],
        tenant_id=None,
        period_start=None,
    )
    (row,) = [row for row in rows if row["number"] == payment.number]
    require_same(payment, _payment(row))
    return row["reversed_at"] is not None


def _payment_of_month(
    connection: psycopg.Connection,
    tenant_id: str,
    period: Period,
    reference: str,
    number: str | None,
    execution_id: str,
    target: str | None = None,
) -> dict[str, Any]:
    """The payment that this run reverses, or has reversed. Its invoice and ``target`` are locked."""
    known = _payments_of_month(connection, tenant_id, period, reference, number)
    numbers = [row["number"] for row in known]
    _lock(connection, [*numbers, *([target] if target else [])])
    # Read again, because another run may have reversed it before this run got the lock.
    rows = _payments_of_month(connection, tenant_id, period, reference, number)
    if not rows:
        raise BillingError(
            "NO_SUCH_PAYMENT",
            f"{period.start:%Y-%m} の請求書{f' {number} ' if number else ''}に、参照番号 '{reference}' の入金はありません。"
            "対象月と参照番号を確認してください",
        )
    for row in rows:
        if row["reversal_execution_id"] == execution_id:
            return row
    live = [row for row in rows if row["reversed_at"] is None]
    if not live:
        raise BillingError(
            "ALREADY_REVERSED",
            f"請求書 {rows[0]['number']} の参照番号 '{reference}' の入金は取り消し済みです",
        )
    if len(live) > 1:
        raise BillingError(
            "SEVERAL_INVOICES",
            f"参照番号 '{reference}' の入金は請求書 {'、'.join(row['number'] for row in live)} にあります。"
            "「入金のある請求書」（paid_invoice）に番号を指定してください",
        )
    return live[0]


def _payments_of_month(
    connection: psycopg.Connection, tenant_id: str, period: Period, reference: str, number: str | None
) -> list[dict[str, Any]]:
    rows = _SQL.rows(
        connection,
        "find_payments",
        payment_references=[reference],
        tenant_id=tenant_id,
        period_start=period.start,
    )
    return [row for row in rows if number in (None, row["number"])]


def _rest_of(connection: psycopg.Connection, payment: Payment) -> Payment:
    """The payment with the invoice's next unused reference, because a reversed payment keeps its own."""
    taken = _SQL.column(connection, "references_of", number=payment.number)
    names = (f"{payment.reference}-{count}" for count in range(2, len(taken) + 3))
    return replace(payment, reference=next(name for name in names if name not in taken))


def take_back_payment(
    connection: psycopg.Connection, row: dict[str, Any], reason: str, reversed_by: str, execution_id: str
) -> None:
    """Reverse the payment ``row`` of the locked invoice, unless it is reversed. :raises BillingError: its money was refunded."""
    if row["reversed_at"] is not None:
        return
    state = _SQL.rows(connection, "payment_state", invoice_id=row["invoice_id"])[0]
    if row["kind"] == "payment" and state["paid_total"] < row["amount"]:
        raise BillingError(
            "REFUNDED",
            f"請求書 {row['number']} の参照番号 '{row['reference']}' の入金には返金があります。先に返金を取り消してください",
        )
    _SQL.execute(
        connection,
        "reverse_payment",
        payment_id=row["payment_id"],
        reversed_by=reversed_by,
        reason=reason,
        execution_id=execution_id,
    )
    take_back_adjustments(connection, row["invoice_id"], row["payment_id"], reason, reversed_by, execution_id)
    show_payments(connection, row["invoice_id"])


def _require_unpaid_in_application(connection: psycopg.Connection, payments: Sequence[Payment]) -> None:
    """Check the new payments. :raises BillingError: the application has its own payment of an invoice."""
    numbers = [payment.number for payment in payments]
    paid = set(_SQL.column(connection, "paid_in_application", numbers=numbers))
    known = find_recorded(connection, payments) if paid else {}
    for payment in payments:
        if (payment.number, payment.reference) not in known:
            require_unpaid_in_application(payment, paid)


@dataclass(frozen=True)
class _PaymentOrigin:
    source: Literal["operation", "file", "bank"]
    reason: str | None
    entered_by: str
    execution_id: str


def _insert(
    connection: psycopg.Connection, payments: Sequence[tuple[Payable, Payment]], entry: _PaymentOrigin
) -> list[bool]:
    """Insert payments, and the recoveries of write-offs by them. Returns True for each new one. The caller has locked the invoices."""
    are_new = [False] * len(payments)
    left = list(range(len(payments)))
    while left:
        # One by one per invoice, because each recovers what is left of a write-off.
        places = {payments[place][0].invoice_id: place for place in reversed(left)}
        rows = [_row(connection, invoice_id, payments[place][1]) for invoice_id, place in places.items()]
        for row in _SQL.rows(connection, "insert_payments", payments=Jsonb(rows), **asdict(entry)):
            are_new[places[row["invoice_id"]]] = True
            if row["is_written_off"]:
                _recover(connection, *payments[places[row["invoice_id"]]], entry, row["payment_id"])
        left = [place for place in left if place not in places.values()]
    return are_new


def _row(connection: psycopg.Connection, invoice_id: str, payment: Payment) -> dict[str, Any]:
    yen = yen_of_payment(connection, invoice_id, payment)
    texts = {"paid_on": f"{payment.paid_on}", "amount": f"{payment.amount}", "yen": f"{yen}"}
    return {**asdict(payment), **texts, "invoice_id": invoice_id}


def _recover(
    connection: psycopg.Connection, payable: Payable, payment: Payment, entry: _PaymentOrigin, payment_id: str
) -> None:
    recovered = AdjustmentAuthor(
        payment.paid_on,
        f"入金 {payment.reference}",
        entry.entered_by,
        entry.execution_id,
        payment_id=payment_id,
    )
    book_recovery(connection, payable.invoice_id, payment.currency, recovered)


def _payment(row: dict[str, Any]) -> Payment:
    return Payment(
        row["number"],
        row["paid_on"],
        row["amount"],
        row["currency"],
        row["method"],
        row["reference"],
        row["kind"],
        row["transfer_id"],
    )
