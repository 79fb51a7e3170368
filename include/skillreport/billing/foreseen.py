"""Predicts what an operation changes in invoices: the values before and after, by the rules of the run. Pure.

It omits what only the run knows, for example whether the same was entered before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice
from include.skillreport.billing.receivables.adjustment import recovered_amount, require_day
from include.skillreport.billing.receivables.payment import (
    Payable,
    Payment,
    require_acceptable,
    require_payable,
)

_CLAIMED = "請求額（税込、返還を引いた額）"
_OPEN, _OVERPAID = "未入金", "未入金（マイナスは過入金）"

ACCOUNTING_MONTH = "会計月"

# The titles of values that the board translates.
TITLES = (_CLAIMED, _OPEN, _OVERPAID, ACCOUNTING_MONTH)


@dataclass(frozen=True)
class Foreseen:
    """A value of the document ``number`` before and after. ``title`` names it in Japanese. ``line`` is its invoice line, if any.

    With a ``currency``, the values are amounts, otherwise texts or days. None: there is no value.
    """

    number: str | None
    title: str
    before: Any
    after: Any
    currency: str = ""
    line: int | None = None


@dataclass(frozen=True)
class PresentInvoice:
    """An invoice that is not void, with its final credit notes and its payments (the columns of ``batch.payment``).

    ``of_month``: it belongs to the form's month. ``fee_tolerance``: the setting. ``today``: the day of the run (Asia/Tokyo).
    """

    stored: StoredInvoice
    credits: Sequence[Invoice]
    payments: Sequence[Mapping[str, Any]]
    of_month: bool
    fee_tolerance: int
    today: date

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
        )

    def require_day(self, day: date | None) -> None:
        """Check an adjustment's day; None: it is not entered yet. :raises BillingError: the day is impossible."""
        if day is not None:
            require_day(self.stored.invoice, day, self.today)

    def require_acceptable(self, payment: Payment) -> Payable:
        """The invoice as the document that the entered payment names. The payment's day is None if it is not entered yet.

        :raises BillingError: the run would reject the payment. Only the run knows the days of all invoices that this one replaces.
        """
        payable = self.payable
        if payment.paid_on is None:
            return require_payable(payment, payable)
        if self.stored.invoice.replaces:
            payable = replace(payable, first_issued_on=min(payment.paid_on, payable.issued_on))
        return require_acceptable(payment, payable, self.today)

    def claimed(self, after: Decimal) -> Foreseen:
        """The total with tax, less credit notes."""
        left = self.stored.state.total - self.stored.state.credited_total
        return self._amount(_CLAIMED, left, after)

    def opened(self, change: Decimal) -> Foreseen:
        """The open amount before and after a change."""
        before = self.stored.state.open_amount
        after = before + change
        return self._amount(_OPEN if min(before, after) >= 0 else _OVERPAID, before, after)

    def paid(self, amount: Decimal) -> Foreseen:
        """The open amount before and after a payment. Its surplus recovers written-off amounts."""
        state = self.stored.state
        return self.opened(recovered_amount(state.written_off_total, state.open_amount - amount) - amount)

    def _amount(self, title: str, before: Decimal, after: Decimal) -> Foreseen:
        return Foreseen(self.stored.state.number, title, before, after, self.stored.invoice.currency)


def live_invoice(present: Sequence[PresentInvoice]) -> PresentInvoice | None:
    """The final invoice of the tenant's month that is neither void nor credited in full, or None."""
    return next(
        (
            each
            for each in present
            if each.of_month and each.stored.state.is_live and each.stored.state.number
        ),
        None,
    )
