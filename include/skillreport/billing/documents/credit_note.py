"""The credit note (適格返還請求書) for an invoice or for a part of it. Pure; amounts are in the invoice's currency.

A credit note names lines of its original. It never takes more of a line than earlier credit notes left. Its tax per rate is rounded once,
in the original's mode, and never exceeds the rest of the original's tax. A credit note for the rest of a rate takes the rest of its tax.
Each credit note lowers the open amount. Together, they never exceed the original's total.

Source: 消費税法第57条の4第3項, BATCH-018-02's rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind, InvoiceLine, YenTax
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import (
    EXACT,
    YEN,
    RoundingMode,
    has_minor_units,
    minor_unit,
    round_to_minor_unit,
)
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal, tax_of

_ZERO = Decimal(0)


@dataclass(frozen=True)
class CreditedPart:
    """The part of one line that a credit note takes: an amount above 0, or a quantity in the line's unit, which determines the amount."""

    position: int
    amount: Decimal | None = None
    quantity: Decimal | None = None


def credit_note(
    original: Invoice,
    earlier: Sequence[Invoice],
    parts: Sequence[CreditedPart] | None,
    *,
    reason: str,
    rounding: RoundingMode,
) -> Invoice:
    """The draft credit note. ``earlier`` are the original's final credit notes. Without ``parts``, it takes everything that is left.

    The original's total is above 0, as in every numbered invoice.
    :raises BillingError: nothing is left, a part names no line or exceeds the rest, an amount has too many decimals, or the parts together
        do not lower the open amount, exceed it, or take all of it and leave amounts of a rate.
    """
    lines = _lines(original, earlier, parts, rounding)
    if not lines:
        raise BillingError("NOTHING_LEFT", f"請求書 {original.number} はすべて返還済みです")
    taken = _sums(lines)
    tax_totals = tuple(
        _negative(
            total.category,
            total.rate_percent,
            *_taken(original, rounding, total, _left(total, earlier), taken[total.category]),
        )
        for total in original.tax_totals
        if total.category in taken
    )
    subtotal = sum((line.amount for line in lines), minor_unit(original.currency) * 0)
    tax = sum((total.tax_amount for total in tax_totals), minor_unit(original.currency) * 0)
    total = subtotal if original.tax_included else subtotal + tax
    _require_possible(original, earlier, tax_totals, total)
    return original.model_copy(
        update={
            "kind": InvoiceKind.CREDIT,
            "number": None,
            "original_number": original.number,
            "original_issued_on": original.issued_on,
            "reason": reason,
            "replaces": None,
            "correction": None,
            "issued_on": None,
            "due_on": None,
            "lines": tuple(lines),
            "tax_totals": tax_totals,
            "yen_tax": original.yen_tax and _yen_tax(original, original.yen_tax, earlier, taken, rounding),
            "subtotal": subtotal,
            "tax": tax,
            "total": total,
            "remaining_total": original.total + sum((each.total for each in earlier), total),
            "remarks": (),
        }
    )


def _require_possible(
    original: Invoice, earlier: Sequence[Invoice], tax_totals: Sequence[TaxTotal], total: Decimal
) -> None:
    """Check the entire credit note. If the original has deductions, its other lines exceed its total."""
    name, currency = (
        f"請求書 {original.number} の返還額の合計 {-total:,f} {original.currency}",
        original.currency,
    )
    left = original.total + sum((each.total for each in earlier), _ZERO)
    if total >= 0:
        raise BillingError(
            "CREDIT_NOT_NEGATIVE",
            f"{name} が 0 以下のため発行できません。減額の行より多くなるように、請求額の行も指定してください",
        )
    if -total > left:
        raise BillingError(
            "CREDIT_TOO_LARGE",
            f"{name} が残額 {left:,f} {currency} を超えます。減額（マイナス）の行も指定するか、金額を下げてください",
        )
    if -total == left and any(
        _less_credited(each, [*(credit.tax_totals for credit in earlier), tax_totals]) != (_ZERO, _ZERO)
        for each in original.tax_totals
    ):
        raise BillingError(
            "CREDIT_LEAVES_RATES",
            f"{name} は残額の全部ですが、税区分ごとの残りが打ち消されません。残りをすべて返還するには、行を指定せずに"
            "「全額の返還」を実行してください",
        )


@dataclass
class _Rest:
    """The rest of a line after the earlier credit notes and parts. ``amount`` has the line's sign."""

    line: InvoiceLine
    amount: Decimal
    quantity: Decimal

    def take(self, amount: Decimal, quantity: Decimal | None) -> None:
        self.amount -= amount
        self.quantity -= quantity or _ZERO


def _lines(
    original: Invoice,
    earlier: Sequence[Invoice],
    parts: Sequence[CreditedPart] | None,
    rounding: RoundingMode,
) -> list[InvoiceLine]:
    """The lines of the credit note, with the opposite sign."""
    rests = {line.position: _Rest(line, line.amount, line.quantity or _ZERO) for line in original.lines}
    for credit in earlier:
        for line in credit.lines:
            rests[line.credited_position or line.position].take(-line.amount, line.quantity)
    if parts is None:
        parts = [CreditedPart(position, abs(rest.amount)) for position, rest in rests.items() if rest.amount]
    lines = []
    for number, part in enumerate(parts, 1):
        rest = rests.get(part.position)
        if rest is None:
            raise BillingError(
                "NO_SUCH_LINE",
                f"請求書 {original.number} に {part.position} 行目はありません（{len(original.lines)} 行）",
            )
        amount = _amount_of(original, part, rest, rounding)
        lines.append(_credited_line(original, rest.line, part, number, amount))
        rest.take(amount, part.quantity)
    return lines


def _amount_of(original: Invoice, part: CreditedPart, rest: _Rest, rounding: RoundingMode) -> Decimal:
    """The part's amount with the line's sign."""
    name = f"請求書 {original.number} の {part.position} 行目"
    amount = part.amount or _ZERO
    if part.quantity is not None:
        amount = _amount_of_quantity(original, part.quantity, rest, rounding, name)
    elif not has_minor_units(amount, original.currency):
        raise BillingError(
            "NOT_PAYABLE", f"{name}の返還額 {amount:,f} に {original.currency} で払えない端数があります"
        )
    if not 0 < amount <= abs(rest.amount):
        raise BillingError(
            "CREDIT_TOO_LARGE",
            f"{name}の返還額 {amount:,f} {original.currency} は、0 より大きく残額 {abs(rest.amount):,f} {original.currency} "
            "以下にしてください",
        )
    return amount if rest.line.amount > 0 else -amount


def _amount_of_quantity(
    original: Invoice, quantity: Decimal, rest: _Rest, rounding: RoundingMode, name: str
) -> Decimal:
    line = rest.line
    if not line.quantity:
        raise BillingError("NO_QUANTITY", f"{name}には数量がありません。金額で指定してください")
    if not 0 < quantity <= rest.quantity:
        raise BillingError(
            "CREDIT_TOO_LARGE",
            f"{name}の返還数量 {quantity:,f} は、0 より大きく残りの {rest.quantity:,f} {line.unit or ''} 以下にしてください",
        )
    if quantity == rest.quantity:
        return abs(rest.amount)
    exact = EXACT.divide(abs(line.exact_amount) * quantity, line.quantity)
    # If earlier parts were rounded up, the rest may be less than the calculated amount.
    return min(round_to_minor_unit(exact, original.currency, rounding), abs(rest.amount))


def _credited_line(
    original: Invoice, line: InvoiceLine, part: CreditedPart, number: int, amount: Decimal
) -> InvoiceLine:
    is_whole = amount == line.amount
    quantity = line.quantity if is_whole else part.quantity
    whole, some = {
        "ja": ("{number} の {line} 行目の取消", "{number} の {line} 行目の一部"),
        "en": ("Reverses line {line} of {number}", "Reverses a part of line {line} of {number}"),
    }[original.language]
    text = (whole if is_whole else some).format(number=original.number, line=line.position)
    return line.model_copy(
        update={
            "position": number,
            "credited_position": line.position,
            "exact_amount": EXACT.minus(line.exact_amount if is_whole else amount),
            "amount": -amount,
            "quantity": quantity,
            "unit": line.unit if quantity is not None else None,
            "unit_amount": line.unit_amount if quantity is not None or is_whole else None,
            "explanation": (text,),
        }
    )


def _sums(lines: Sequence[InvoiceLine]) -> dict[TaxCategory, Decimal]:
    """The credited amounts per category, with the original's sign."""
    sums: dict[TaxCategory, Decimal] = {}
    for line in lines:
        sums[line.tax_category] = sums.get(line.tax_category, _ZERO) - line.amount
    return sums


def _left(total: TaxTotal, earlier: Sequence[Invoice]) -> tuple[Decimal, Decimal]:
    """The amount and the tax of a rate that are left after earlier credit notes."""
    return _less_credited(total, [credit.tax_totals for credit in earlier])


def _less_credited(total: TaxTotal, credited: Sequence[Sequence[TaxTotal]]) -> tuple[Decimal, Decimal]:
    taken = [each for totals in credited for each in totals if each.category is total.category]
    return (
        total.taxable_amount + sum((each.taxable_amount for each in taken), _ZERO),
        total.tax_amount + sum((each.tax_amount for each in taken), _ZERO),
    )


def _taken(
    original: Invoice,
    rounding: RoundingMode,
    total: TaxTotal,
    left: tuple[Decimal, Decimal],
    taken: Decimal,
) -> tuple[Decimal, Decimal]:
    """The amount and the tax of a rate that the credit note takes, with the sign of the rate's total."""
    left_amount, left_tax = left
    if taken == left_amount:
        return left_amount, left_tax
    # Without the discount's line, the sum of a rate's lines exceeds the rate's amount.
    if not min(_ZERO, left_amount) <= taken <= max(_ZERO, left_amount):
        raise BillingError(
            "CREDIT_TOO_LARGE",
            f"請求書 {original.number} の {total.category.label}の返還額 {taken:,f} {original.currency} が、値引きを引いた残額 "
            f"{left_amount:,f} {original.currency} を超えます。値引きの行も指定するか、金額を下げてください",
        )
    tax = tax_of(
        taken,
        total.rate_percent,
        included=original.tax_included,
        currency=original.currency,
        rounding=rounding,
    )
    return taken, min(tax, left_tax) if left_tax > 0 else max(tax, left_tax)


def _yen_tax(
    original: Invoice,
    yen_tax: YenTax,
    earlier: Sequence[Invoice],
    taken: dict[TaxCategory, Decimal],
    rounding: RoundingMode,
) -> YenTax:
    """The totals per rate in yen, at the original's exchange rate."""
    credited = [credit.yen_tax.totals for credit in earlier if credit.yen_tax]
    in_currency = {total.category: _left(total, earlier)[0] for total in original.tax_totals}
    totals = []
    for total in yen_tax.totals:
        amount = taken.get(total.category)
        if amount is None:
            continue
        left_amount, left_tax = _less_credited(total, credited)
        if amount != in_currency[total.category]:
            exact = amount * yen_tax.yen_per_unit
            tax = tax_of(
                exact, total.rate_percent, included=original.tax_included, currency=YEN, rounding=rounding
            )
            left_amount = min(round_to_minor_unit(exact, YEN, rounding), left_amount, key=abs)
            left_tax = min(tax, left_tax, key=abs)
        totals.append(_negative(total.category, total.rate_percent, left_amount, left_tax))
    return yen_tax.model_copy(update={"totals": tuple(totals)})


def _negative(category: TaxCategory, rate_percent: Decimal, amount: Decimal, tax: Decimal) -> TaxTotal:
    return TaxTotal(
        category=category, rate_percent=rate_percent, taxable_amount=amount, tax_amount=tax
    ).negated()
