"""Adjustments of a receivable without money: the fee that a payer's bank kept, a write-off (貸倒れ), and its recovery. Pure.

Amounts are in the invoice's currency, and for the books in yen. Days are Asia/Tokyo dates.

Sources: 消費税法第57条の4第3項 and 施行令第70条の9第3項 (a return below ¥10,000 with tax needs no document), 消費税法第39条 and
施行令第59条 (the tax in a bad debt is deductible only for certain facts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Self

from include.skillreport.billing.documents.invoice import Document, Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.money import (
    EXACT,
    YEN,
    RoundingMode,
    has_minor_units,
    in_yen,
    round_to_minor_unit,
)
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, tax_of

# Below this amount in yen, with tax, a return needs no 適格返還請求書.
SMALL_RETURN = Decimal(10_000)

_ZERO = Decimal(0)


class AdjustmentKind(StrEnum):
    """Why a receivable changes. A recovery undoes a part of a write-off, because a payment has arrived."""

    FEE = "fee"
    WRITE_OFF = "write_off"
    RECOVERY = "recovery"

    @property
    def label(self) -> str:
        """The name in Japanese."""
        return _LABELS[self]


_LABELS = {
    AdjustmentKind.FEE: "手数料差額",
    AdjustmentKind.WRITE_OFF: "貸倒れ",
    AdjustmentKind.RECOVERY: "貸倒回収",
}


class Contra(StrEnum):
    """The account against the receivable: sales, a return, a purchase (支払手数料), a bad debt, income from a recovery, or the bank's."""

    SALES = "sales"
    RETURN = "return"
    PURCHASE = "purchase"
    BAD_DEBT = "bad_debt"
    RECOVERY = "recovery"
    BANK = "bank"


class AdjustedTax(Document):
    """The part of one tax category, tax included. ``yen`` and ``yen_tax`` are the amounts in the books."""

    category: TaxCategory
    rate_percent: Decimal
    gross: Decimal
    tax: Decimal
    yen: Decimal
    yen_tax: Decimal

    def negated(self) -> Self:
        """The part with the opposite sign."""
        return self.model_copy(
            update={name: -getattr(self, name) for name in ("gross", "tax", "yen", "yen_tax")}
        )


class Adjustment(Document):
    """An adjustment of an invoice. A positive ``amount`` reduces the open amount; a negative one undoes that. The parts add up to it."""

    kind: AdjustmentKind
    contra: Contra
    amount: Decimal
    parts: tuple[AdjustedTax, ...]

    @property
    def label(self) -> str:
        """The name in the books."""
        is_taken_back = (self.amount < 0) != (self.kind is AdjustmentKind.RECOVERY)
        return f"{self.kind.label}{'の取り消し' if is_taken_back else ''}"

    def negated(self) -> Self:
        """The adjustment that takes this one back."""
        return self.model_copy(
            update={"amount": -self.amount, "parts": tuple(part.negated() for part in self.parts)}
        )


def fee(
    invoice: Invoice,
    inputs: BillingInputs,
    credits: Sequence[Invoice],
    amount: Decimal,
    *,
    as_purchase: bool,
    yen: Decimal | None = None,
) -> Adjustment:
    """The bank's fee as a return of sales at the invoice's rates, or ``as_purchase`` at the standard rate.

    ``yen`` is its amount in the books, if the fee is the entire open amount.
    """
    shares = {TaxCategory.STANDARD: amount} if as_purchase else _shares(invoice, credits, amount)
    parts = _parts(shares, invoice, inputs, _Known({}, {}, yen))
    contra = Contra.PURCHASE if as_purchase else Contra.RETURN
    return Adjustment(kind=AdjustmentKind.FEE, contra=contra, amount=amount, parts=parts)


def write_off(
    invoice: Invoice,
    inputs: BillingInputs,
    credits: Sequence[Invoice],
    amount: Decimal,
    *,
    deducts_tax: bool,
    yen: Decimal | None = None,
) -> Adjustment:
    """The write-off of an amount. Tax is deducted only with a fact of 施行令第59条 (``deducts_tax``).

    ``yen`` is its amount in the books, if it is the entire open amount. If nothing of the invoice was paid, its taxes are the invoice's
    less the credit notes'.
    """
    left = _left(invoice, credits)
    known = _Known({}, {}, yen)
    if sum((each.gross for each in left), _ZERO) == amount:
        known = _Known({each.category: each.tax for each in left}, _yen_taxes_left(invoice, credits), yen)
    shares = _shares(invoice, credits, amount) if deducts_tax else {TaxCategory.OUT_OF_SCOPE: amount}
    parts = _parts(shares, invoice, inputs, known)
    return Adjustment(kind=AdjustmentKind.WRITE_OFF, contra=Contra.BAD_DEBT, amount=amount, parts=parts)


def recovery(written_off: Sequence[Adjustment], amount: Decimal, currency: str) -> Adjustment:
    """The recovery by a payment of ``amount``, from an invoice's write-offs less its earlier recoveries.

    The parts are in proportion to the rest. The last recovery takes the entire rest.
    """
    left = total_parts(written_off)
    whole = sum((part.gross for part in left), _ZERO)

    def share(value: Decimal, unit: str) -> Decimal:
        return round_to_minor_unit(EXACT.divide(value * amount, whole), unit, RoundingMode.HALF_UP)

    parts = [
        part.model_copy(
            update={
                "gross": share(part.gross, currency),
                "tax": share(part.tax, currency),
                "yen": share(part.yen, YEN),
                "yen_tax": share(part.yen_tax, YEN),
            }
        )
        for part in left
    ]
    # The largest part takes the rounding differences.
    largest = max(range(len(parts)), key=lambda position: abs(parts[position].gross))
    yen = share(sum((part.yen for part in left), _ZERO), YEN)
    parts[largest] = parts[largest].model_copy(
        update={
            "gross": parts[largest].gross + amount - sum((part.gross for part in parts), _ZERO),
            "yen": parts[largest].yen + yen - sum((part.yen for part in parts), _ZERO),
        }
    )
    return Adjustment(
        kind=AdjustmentKind.RECOVERY,
        contra=Contra.RECOVERY,
        amount=-amount,
        parts=tuple(part.negated() for part in parts),
    )


def recovered_amount(written_off_total: Decimal, open_amount: Decimal) -> Decimal:
    """The amount of the write-offs that a payment recovered: the overpaid amount after it, but at most all of them."""
    return max(min(written_off_total, -open_amount), _ZERO)


def amount_taken_back(adjusted: Decimal, fee_total: Decimal) -> Decimal:
    """What the reversal of a payment takes back of its fee or (negative) recovery: nothing of a fee that was taken back before."""
    return adjusted if fee_total >= adjusted else _ZERO


def taken_back(adjustments: Sequence[Adjustment]) -> list[Adjustment]:
    """The adjustments that take back these adjustments of one kind: one for each account, with their sum."""
    by_contra: dict[Contra, list[Adjustment]] = {}
    for each in adjustments:
        by_contra.setdefault(each.contra, []).append(each)
    sums = [
        group[-1].model_copy(
            update={"amount": sum((each.amount for each in group), _ZERO), "parts": total_parts(group)}
        )
        for group in by_contra.values()
    ]
    return [each.negated() for each in sums if each.amount]


def total_parts(adjustments: Iterable[Adjustment]) -> tuple[AdjustedTax, ...]:
    """The parts of several adjustments, added per category, without those of 0."""
    sums: dict[TaxCategory, AdjustedTax] = {}
    for part in (part for each in adjustments for part in each.parts):
        known = sums.get(part.category)
        sums[part.category] = (
            part
            if known is None
            else known.model_copy(
                update={
                    name: getattr(known, name) + getattr(part, name)
                    for name in ("gross", "tax", "yen", "yen_tax")
                }
            )
        )
    return tuple(part for part in sums.values() if part.gross or part.yen)


def require_fee(invoice: Invoice, inputs: BillingInputs, amount: Decimal, *, earlier: Decimal) -> None:
    """Check a fee. ``earlier`` is the sum of the invoice's other fees.

    :raises BillingError: the amount is impossible, or the fees reach ¥10,000, so that the return needs a document.
    """
    name = f"請求書 {invoice.number} の手数料 {amount:,f} {invoice.currency} "
    if amount <= 0 or not has_minor_units(amount, invoice.currency):
        raise BillingError(
            "WRONG_AMOUNT", f"{name}は記録できません。0 より大きく、通貨の最小単位までの額にしてください"
        )
    if in_yen(amount + earlier, yen_per_unit(inputs)) >= SMALL_RETURN:
        raise BillingError(
            "FEE_TOO_LARGE",
            f"{name}は記録できません。合わせて {SMALL_RETURN:,f} 円以上の返還には適格返還請求書が必要です。"
            "DAG operate_invoices の「一部の返還」で発行してください",
        )


def require_day(invoice: Invoice, day: date, today: date) -> None:
    """Check the day of an adjustment. :raises BillingError: it is before the issue date or after ``today``."""
    assert invoice.issued_on is not None, "an adjusted invoice is final"
    if not invoice.issued_on <= day <= today:
        raise BillingError(
            "WRONG_DAY",
            f"請求書 {invoice.number} の日付 {day} は、発行日 {invoice.issued_on} から実行日 {today} までの日にしてください",
        )


def yen_per_unit(inputs: BillingInputs) -> Decimal:
    """The invoice's rate in the books. Every final invoice in another currency has a rate."""
    if inputs.currency == YEN:
        return Decimal(1)
    assert inputs.exchange_rate is not None, "a final invoice has its rate"
    return inputs.exchange_rate.yen_per_unit


class _Known(NamedTuple):
    """Amounts that are not calculated again: the tax per category in currency and in yen, and the total yen of the parts."""

    taxes: Mapping[TaxCategory, Decimal]
    yen_taxes: Mapping[TaxCategory, Decimal]
    yen: Decimal | None


class _Left(Document):
    """The rest of a category after credit notes, tax included."""

    category: TaxCategory
    gross: Decimal
    tax: Decimal


def _left(invoice: Invoice, credits: Sequence[Invoice]) -> list[_Left]:
    sums: dict[TaxCategory, tuple[Decimal, Decimal]] = {}
    for document in (invoice, *credits):
        for total in document.tax_totals:
            gross, tax = sums.get(total.category, (_ZERO, _ZERO))
            added = total.taxable_amount + (_ZERO if document.tax_included else total.tax_amount)
            sums[total.category] = gross + added, tax + total.tax_amount
    return [_Left(category=category, gross=gross, tax=tax) for category, (gross, tax) in sums.items()]


def _yen_taxes_left(invoice: Invoice, credits: Sequence[Invoice]) -> dict[TaxCategory, Decimal]:
    """The tax in yen on an invoice in another currency, less its credit notes'."""
    sums: dict[TaxCategory, Decimal] = {}
    for total in (total for each in (invoice, *credits) if each.yen_tax for total in each.yen_tax.totals):
        sums[total.category] = sums.get(total.category, _ZERO) + total.tax_amount
    return sums


def _grosses(left: Iterable[_Left]) -> dict[TaxCategory, Decimal]:
    return {each.category: each.gross for each in left if each.gross}


def _shares(invoice: Invoice, credits: Sequence[Invoice], amount: Decimal) -> dict[TaxCategory, Decimal]:
    """The amount, split in proportion to the rest of each category of the invoice. The largest category takes the rounding difference.

    A category below 0 (deductions only) takes nothing, unless the amount is the entire rest.
    """
    grosses = _grosses(_left(invoice, credits))
    if sum(grosses.values(), _ZERO) == amount:
        return grosses
    positive = {category: gross for category, gross in grosses.items() if gross > 0}
    whole = sum(positive.values(), _ZERO)
    shares = {
        category: round_to_minor_unit(
            EXACT.divide(amount * gross, whole), invoice.currency, RoundingMode.HALF_UP
        )
        for category, gross in positive.items()
    }
    largest = max(positive, key=lambda category: positive[category])
    shares[largest] += amount - sum(shares.values(), _ZERO)
    return {category: share for category, share in shares.items() if share}


def _parts(
    shares: Mapping[TaxCategory, Decimal],
    invoice: Invoice,
    inputs: BillingInputs,
    known: _Known | None = None,
) -> tuple[AdjustedTax, ...]:
    """The shares with their tax, in currency and in yen. Known amounts are not calculated."""
    known = known or _Known({}, {}, None)
    rate, rounding = yen_per_unit(inputs), inputs.rounding
    whole = sum(shares.values(), _ZERO)
    yen = {category: in_yen(share, rate) for category, share in shares.items()}
    largest = max(shares, key=lambda category: abs(shares[category]))
    yen_whole = in_yen(whole, rate) if known.yen is None else known.yen
    yen[largest] += yen_whole - sum(yen.values(), _ZERO)

    def tax(amount: Decimal, category: TaxCategory, currency: str) -> Decimal:
        percent = inputs.rate_percent(category)
        return tax_of(amount, percent, included=True, currency=currency, rounding=rounding)

    parts = []
    for category, share in shares.items():
        in_currency = known.taxes.get(category, tax(share, category, invoice.currency))
        tax_in_yen = known.yen_taxes.get(category, tax(yen[category], category, YEN))
        parts.append(
            AdjustedTax(
                category=category,
                rate_percent=inputs.rate_percent(category),
                gross=share,
                tax=in_currency,
                yen=yen[category],
                yen_tax=in_currency if invoice.currency == YEN else tax_in_yen,
            )
        )
    return tuple(parts)
