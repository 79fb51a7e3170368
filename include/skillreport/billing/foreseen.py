"""Predicts what an operation changes in invoices: the values before and after, by the rules of the run. Pure.

It omits what only the run knows, for example whether the same was entered before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.ledger.letters import has_left, require_letter
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice
from include.skillreport.billing.receivables.adjustment import (
    amount_taken_back,
    recovered_amount,
    require_day,
)
from include.skillreport.billing.receivables.payment import (
    Payable,
    Payment,
    require_acceptable,
    require_payable,
)
from include.skillreport.billing.state import Act, require

_ZERO = Decimal(0)

_CLAIMED = "請求額（税込、返還を引いた額）"
_OPEN, _OVERPAID = "未入金", "未入金（マイナスは過入金）"

ACCOUNTING_MONTH = "会計月"

LETTER, REMINDERS, ALL_REMINDERS = "送付", "督促", "督促（すべての請求書）"
_NEW_INVOICE = "新しい請求書"

# The title, and the words for the value before and after.
VOIDED = ("状態", "確定", "取消済み")
STOPPED, _CORRECTED, NEXT_SENDING = "停止中", "訂正の承認待ち", "次の送信（毎日 9:00）"
REMINDED = "送ります"
CLOSED = ("未確定", "確定")
_CALCULATED = "実行のときに計算します"

# The titles and the words of values, which the board translates.
TITLES = (
    _CLAIMED,
    _OPEN,
    _OVERPAID,
    ACCOUNTING_MONTH,
    LETTER,
    REMINDERS,
    ALL_REMINDERS,
    _NEW_INVOICE,
    VOIDED[0],
)
WORDS = (*VOIDED[1:], STOPPED, _CORRECTED, NEXT_SENDING, REMINDED, *CLOSED, _CALCULATED)


@dataclass(frozen=True)
class Foreseen:
    """A value of the document ``number`` before and after. ``title`` names it in Japanese. ``line`` is its invoice line, if any.

    With a ``currency``, the values are amounts, otherwise texts or days. None: there is no value. ``in_words``: texts are of ``WORDS``.
    """

    number: str | None
    title: str
    before: Any
    after: Any
    currency: str = ""
    line: int | None = None
    in_words: bool = False


@dataclass(frozen=True)
class PresentInvoice:
    """An invoice that is not void, with its final credit notes and its payments (the columns of ``batch.payment``).

    ``of_month``: it belongs to the form's month. ``fee_tolerance``: the setting. ``today``: the day of the run (Asia/Tokyo).
    ``may_leave``: its e-mail is not sent yet; None: it has none. ``has_no_reminders``: they are stopped.
    ``first_issued_on``: as in ``Payable``.
    """

    stored: StoredInvoice
    credits: Sequence[Invoice]
    payments: Sequence[Mapping[str, Any]]
    of_month: bool
    fee_tolerance: int
    today: date
    first_issued_on: date | None
    may_leave: bool | None = None
    has_no_reminders: bool = False

    @property
    def payable(self) -> Payable:
        """The invoice as the document that a payment names."""
        stored, state = self.stored, self.stored.state
        document = stored.invoice
        assert state.number is not None, "a payable invoice is final"
        assert document.issued_on is not None, "a payable invoice is final"
        return Payable(
            stored.invoice_id,
            stored.tenant_id,
            state.number,
            state.kind,
            state.status,
            document.currency,
            document.issued_on,
            state.open_amount,
            self.first_issued_on,
            written_off_total=state.written_off_total,
        )

    def require_day(self, day: date | None) -> None:
        """Check an adjustment's day; None: it is not entered yet. :raises BillingError: the day is impossible."""
        if day is not None:
            require_day(self.stored.invoice, day, self.today)

    def require_acceptable(self, payment: Payment) -> Payable:
        """The invoice as the document that the entered payment names. The payment's day is None if it is not entered yet.

        :raises BillingError: the run would reject the payment.
        """
        payable = self.payable
        if payment.paid_on is None:
            return require_payable(payment, payable)
        return require_acceptable(payment, payable, self.today)

    def worded(self, title: str, before: Any, after: str) -> Foreseen:
        """A value in words, or a day before."""
        return Foreseen(self.stored.state.number, title, before, after, in_words=True)

    def letter(self, after: str) -> Foreseen:
        """The sending of its e-mail before and after a decision. :raises BillingError: it has none, or it has left."""
        state = self.stored.state
        planned = require_letter(self.stored)
        if state.corrected_by:
            return self.worded(LETTER, _CORRECTED, after)
        if self.may_leave is False:
            raise has_left(self.stored, "止めることも、もう一度送ることもできません")
        return self.worded(LETTER, STOPPED if state.is_stopped else planned, after)

    def reminders(self, *, are_stopped: bool) -> Foreseen:
        """Whether its reminders are sent, before and after."""
        words = {True: STOPPED, False: REMINDED}
        return self.worded(REMINDERS, words[self.has_no_reminders], words[are_stopped])

    def claimed(self, after: Decimal) -> Foreseen:
        """The total with tax, less credit notes."""
        left = self.stored.state.total - self.stored.state.credited_total
        return self._amount(_CLAIMED, left, after)

    def opened(self, change: Decimal) -> Foreseen:
        """The open amount before and after a change."""
        state = self.stored.state
        return opened(state.number, state.open_amount, change, self.stored.invoice.currency)

    def paid(self, amount: Decimal) -> Foreseen:
        """The open amount before and after a payment."""
        return paid(self.payable, amount)

    def reversed(self, payment: Mapping[str, Any], kept: Decimal = _ZERO) -> Foreseen:
        """The open amount before and after the reversal of a payment or refund, with its fee or recovery. ``kept`` is recorded again."""
        if payment["kind"] == "refund":
            return self.opened(-payment["amount"])
        state, adjusted = self.stored.state, payment["adjusted"]
        change = payment["amount"] + amount_taken_back(adjusted, state.fee_total)
        if kept:
            change -= kept
            change += recovered_amount(
                state.written_off_total - min(adjusted, _ZERO), state.open_amount + change
            )
        return self.opened(change)

    def _amount(self, title: str, before: Decimal, after: Decimal) -> Foreseen:
        return Foreseen(self.stored.state.number, title, before, after, self.stored.invoice.currency)


def paid(payable: Payable, amount: Decimal) -> Foreseen:
    """The open amount before and after a payment, with the fee of a bank transfer. Its surplus recovers written-off amounts."""
    left = payable.open_amount - amount
    change = recovered_amount(payable.written_off_total, left) - amount
    return opened(payable.number, payable.open_amount, change, payable.currency)


def opened(number: str | None, before: Decimal, change: Decimal, currency: str) -> Foreseen:
    """The open amount of an invoice before and after a change."""
    after = before + change
    return Foreseen(number, _OPEN if min(before, after) >= 0 else _OVERPAID, before, after, currency)


def new_invoice() -> Foreseen:
    """An invoice that the run will calculate, because only the run reads the usage."""
    return Foreseen(None, _NEW_INVOICE, None, _CALCULATED, in_words=True)


def live_invoice(present: Sequence[PresentInvoice], act: Act | None = None) -> PresentInvoice | None:
    """The final invoice of the tenant's month that is neither void nor credited in full, or None.

    :raises BillingError: its state does not permit ``act``.
    """
    for each in present:
        if each.of_month and each.stored.state.is_live and each.stored.state.number:
            if act:
                require(act, each.stored.state)
            return each
    return None
