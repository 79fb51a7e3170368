"""The consumption tax (消費税) of one invoice, calculated once per rate and never per line.

Source: 消費税法施行令第70条の10 (the tax of a qualified invoice is rounded once per rate) and 消費税法第57条の4. Amounts are in
the invoice's currency. The issuer chooses the rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from include.skillreport.billing.money import EXACT, RoundingMode, round_to_minor_unit


class TaxCategory(StrEnum):
    """The category that determines a line's tax rate. Reduced lines are marked with ※.

    The last four have the rate 0 and differ in the accounts: 非課税 (exempt by law, for example stamps), 不課税 (no transaction in
    Japan, for example a digital service to a recipient abroad), 免税 (export), 対象外 (no supply at all, for example an advance).
    """

    STANDARD = "standard"
    REDUCED = "reduced"
    EXEMPT = "exempt"
    NOT_TAXABLE = "not_taxable"
    EXPORT = "export"
    OUT_OF_SCOPE = "out_of_scope"

    @property
    def label(self) -> str:
        """The name in Japanese, without the rate."""
        return _LABELS[self]


_LABELS = {
    TaxCategory.STANDARD: "課税",
    TaxCategory.REDUCED: "軽減",
    TaxCategory.EXEMPT: "非課税",
    TaxCategory.NOT_TAXABLE: "不課税",
    TaxCategory.EXPORT: "免税（輸出）",
    TaxCategory.OUT_OF_SCOPE: "対象外",
}

# The rates in percent from each date on, newest first. Past rates remain, because a past month may be billed late. A category that is not
# listed has the rate 0.
_RATES = ((date(2019, 10, 1), {TaxCategory.STANDARD: Decimal(10), TaxCategory.REDUCED: Decimal(8)}),)


class TaxTotal(BaseModel):
    """One rate's total. ``taxable_amount`` is the sum of its lines: net if tax is added, gross if tax is included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: TaxCategory
    rate_percent: Decimal
    taxable_amount: Decimal
    tax_amount: Decimal

    def negated(self) -> Self:
        """The total with the opposite sign."""
        return self.model_copy(
            update={"taxable_amount": -self.taxable_amount, "tax_amount": -self.tax_amount}
        )


def rate_percent(category: TaxCategory, on: date, own: Mapping[str, Decimal] | None = None) -> Decimal:
    """The rate in percent for a service that ends on the day ``on``. ``own``: the price list's rates on that day.

    :raises ValueError: the day is before October 2019, and ``own`` is None.
    """
    if own is not None:
        return own.get(category, Decimal(0))
    for since, rates in _RATES:
        if on >= since:
            return rates.get(category, Decimal(0))
    raise ValueError(f"no consumption tax rate is known for {on}")


def tax_of(
    taxable_amount: Decimal, percent: Decimal, *, included: bool, currency: str, rounding: RoundingMode
) -> Decimal:
    """The tax on one rate's total Σ, rounded once: Σ × r/100 if tax is added, Σ × r/(100 + r) if it is included."""
    base = 100 + percent if included else Decimal(100)
    return round_to_minor_unit(EXACT.divide(taxable_amount * percent, base), currency, rounding)


def tax_totals(
    lines: Iterable[tuple[TaxCategory, Decimal]],
    *,
    on: date,
    included: bool,
    currency: str,
    rounding: RoundingMode,
    own: Mapping[str, Decimal] | None = None,
) -> tuple[TaxTotal, ...]:
    """One total per category of the lines (category, rounded amount), in the order of ``TaxCategory``.

    ``on`` and ``own``: as ``rate_percent``.
    """
    sums: dict[TaxCategory, Decimal] = {}
    for category, amount in lines:
        sums[category] = sums.get(category, Decimal(0)) + amount
    return tuple(
        TaxTotal(
            category=category,
            rate_percent=rate_percent(category, on, own),
            taxable_amount=sums[category],
            tax_amount=tax_of(
                sums[category],
                rate_percent(category, on, own),
                included=included,
                currency=currency,
                rounding=rounding,
            ),
        )
        for category in TaxCategory
        if category in sums
    )
