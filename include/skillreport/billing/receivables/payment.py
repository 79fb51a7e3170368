"""Payments of invoices, and the reasons to reject them. Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import has_minor_units


@dataclass(frozen=True)
class Payment:
    """Money received for one invoice, or a refund.

    ``reference`` identifies it, for example the transfer's reference at the bank. ``amount`` is positive. ``transfer_id`` is the bank
    transfer's, if a file contains it. ``is_other``: a user confirmed that it differs from recorded payments of the same amount.
    """

    number: str
    paid_on: date
    amount: Decimal
    currency: str
    method: str
    reference: str
    kind: Literal["payment", "refund"] = "payment"
    transfer_id: str | None = field(default=None, compare=False)
    is_other: bool = field(default=False, compare=False)

    @property
    def noun(self) -> str:
        """Its name in messages."""
        return "返金" if self.kind == "refund" else "入金"


@dataclass(frozen=True)
class Payable:
    """A document that a payment names. ``open_amount`` is left after credit notes and payments, negative if overpaid.

    ``first_issued_on`` is the issue date of the month's first invoice, which the customer may have paid. ``replaced_by`` is the number
    of the month's valid invoice, if that is another one. ``written_off_total`` is what a payment can recover.
    """

    invoice_id: str
    tenant_id: str
    number: str
    kind: str
    status: str
    currency: str
    issued_on: date
    open_amount: Decimal
    first_issued_on: date | None = None
    replaced_by: str | None = None
    written_off_total: Decimal = Decimal(0)


@dataclass(frozen=True)
class RecordedPayment:
    """The result of recording a payment. ``is_new``: it was not recorded before. ``rest`` is left to pay, negative if overpaid."""

    number: str
    currency: str
    rest: Decimal
    is_new: bool
    is_reversed: bool = False
    noun: str = "入金"

    @property
    def remark(self) -> str | None:
        """A note for the accountant, or None if the invoice is settled exactly."""
        if self.is_reversed:
            return (
                f"請求書 {self.number} のこの参照番号の{self.noun}は取り消し済みのため、記録していません。"
                f"{self.noun}が正しければ、別の参照番号で記録してください"
            )
        if not self.is_new:
            return f"請求書 {self.number} のこの{self.noun}は記録済みのため、そのままです"
        if self.rest > 0:
            return f"請求書 {self.number} は一部入金です。残り {self.rest:,f} {self.currency}"
        if self.rest < 0:
            return (
                f"請求書 {self.number} は {-self.rest:,f} {self.currency} の過入金です。"
                "返金を記録するか、別の請求書へ付け替えてください"
            )
        return None


def require_acceptable(payment: Payment, payable: Payable | None, today: date) -> Payable:
    """The document, if the payment can be recorded. The error's ``code`` says which part of the payment is wrong.

    :raises BillingError: as ``require_payable``, or the day is impossible.
    """
    payable = require_payable(payment, payable)
    earliest = payable.first_issued_on or payable.issued_on
    if not earliest <= payment.paid_on <= today:
        raise BillingError(
            "WRONG_DAY",
            f"請求書 {payable.number} の{payment.noun}日 {payment.paid_on} は、発行日 {earliest} から実行日 {today} までの日にしてください",
        )
    return payable


def require_payable(payment: Payment, payable: Payable | None) -> Payable:
    """The document, if it accepts the payment, regardless of the day.

    :raises BillingError: the invoice does not exist, is a credit note or void, or the currency or the amount is impossible.
    """
    if payable is None:
        raise BillingError("NO_SUCH_INVOICE", f"請求書 {payment.number} は存在しません。番号を直してください")
    name = f"請求書 {payable.number} "
    if payable.kind != "invoice":
        raise BillingError(
            "NOT_PAYABLE",
            f"{payable.number} は返還の番号のため、入金を記録できません。請求書の番号を指定してください",
        )
    if payable.status == "void":
        advice = (
            f"差し替えた請求書 {payable.replaced_by} の番号を指定してください"
            if payable.replaced_by
            else "差し替えた請求書はありません。どの請求書の入金かを確かめてください"
        )
        raise BillingError("NOT_PAYABLE", f"{name}は取消済みのため、入金を記録できません。{advice}")
    if payment.currency != payable.currency:
        raise BillingError(
            "WRONG_CURRENCY",
            f"{name}の通貨は {payable.currency} です。通貨 '{payment.currency}' を直してください",
        )
    if payment.amount <= 0 or not has_minor_units(payment.amount, payable.currency):
        raise BillingError(
            "WRONG_AMOUNT",
            f"{name}の{payment.noun}額 {payment.amount:,f} {payable.currency} は記録できません。"
            "0 より大きく、通貨の最小単位までの額にしてください",
        )
    return payable


def require_movable(whole: Payment, moved: Payment, payable: Payable | None) -> Payable:
    """The document that gets ``moved``: the ``whole`` payment, or a part of it.

    :raises BillingError: as ``require_payable``, or ``whole`` is a refund or smaller, or its invoice is the same.
    """
    if whole.kind != "payment":
        raise BillingError(
            "IS_A_REFUND", f"参照番号 '{whole.reference}' は返金です。入金の参照番号を指定してください"
        )
    if whole.number == moved.number:
        raise BillingError(
            "SAME_INVOICE",
            f"入金はすでに請求書 {moved.number} にあります。別の請求書の番号を指定してください",
        )
    payable = require_payable(moved, payable)
    if moved.amount > whole.amount:
        raise BillingError(
            "WRONG_AMOUNT",
            f"請求書 {whole.number} の参照番号 '{whole.reference}' の入金は {whole.amount:,f} {whole.currency} です。"
            f"付け替える額 {moved.amount:,f} をそれまでにしてください",
        )
    return payable


def require_unpaid_in_application(payment: Payment, paid_in_application: set[str]) -> None:
    """Check that the application does not mark the invoice as paid.

    ``paid_in_application``: the numbers of the invoices that the application marks as paid, if it is the source of payments.
    :raises BillingError: the invoice is one of them.
    """
    if payment.number in paid_in_application:
        raise BillingError(
            "PAID_IN_APPLICATION",
            f"請求書 {payment.number} はアプリ（HIS_TenantBilling）で入金済みです。入金を知る方法はアプリ（payment_source: host）のため、"
            "入金を記録しません。アプリの入金が誤りなら、先にアプリで入金済みを取り消してください",
        )


def require_refundable(refund: Payment, payable: Payable) -> None:
    """Check that a refund does not exceed the overpaid amount. :raises BillingError: the refund is larger."""
    overpaid = max(-payable.open_amount, Decimal(0))
    if refund.amount > overpaid:
        raise BillingError(
            "NOT_OVERPAID",
            f"請求書 {payable.number} の過入金は {overpaid:,f} {payable.currency} です。返金額 {refund.amount:,f} {refund.currency} を"
            "過入金までにするか、先に返還してください",
        )


def require_same(payment: Payment, recorded: Payment) -> None:
    """Check that a recorded reference belongs to the same payment. :raises BillingError: it belongs to another one."""
    if payment != recorded:
        raise BillingError(
            "REFERENCE_TAKEN",
            f"請求書 {payment.number} の参照番号 '{payment.reference}' は、別の{recorded.noun}"
            f"（{recorded.paid_on}、{recorded.amount:,f} {recorded.currency}、{recorded.method}）で記録済みです。"
            "別の参照番号にするか、記録済みの入金を取り消してください",
        )
