"""Consumption tax (消費税) of one invoice: once per rate, never per line.

Source: 消費税法施行令第70条の10 (the tax of a qualified invoice is rounded once per rate) and 消費税法第57条の4. Amounts are in
the invoice's currency; the issuer chooses the rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from include.billing.money import EXACT, RoundingMode, round_to_minor_unit


class TaxCategory(StrEnum):
    """What a line's tax rate depends on; a reduced line is marked ※."""

    STANDARD = "standard"
    REDUCED = "reduced"
    EXEMPT = "exempt"


# From when on which rates hold, in percent, newest first. A rate of the past stays: an old month may be billed late.
_RATES = (
    (
        date(2019, 10, 1),
        {TaxCategory.STANDARD: Decimal(10), TaxCategory.REDUCED: Decimal(8), TaxCategory.EXEMPT: Decimal(0)},
    ),
)


class TaxTotal(BaseModel):
    """One rate's total: ``taxable_amount`` is the sum of its lines (net when tax comes on top, gross when it is included)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: TaxCategory
    rate_percent: Decimal
    taxable_amount: Decimal
    tax_amount: Decimal

    def negated(self) -> Self:
        """The same with the other sign."""
        return self.model_copy(
            update={"taxable_amount": -self.taxable_amount, "tax_amount": -self.tax_amount}
        )


def rate_percent(category: TaxCategory, on: date) -> Decimal:
    """The rate in percent for a service that ends on that day. :raises ValueError: before October 2019, when there was one rate."""
    for since, rates in _RATES:
        if on >= since:
            return rates[category]
    raise ValueError(f"no consumption tax rate is known for {on}")


def tax_of(
    taxable_amount: Decimal,
    percent: Decimal,
    *,
    included: bool,
    currency: str,
    rounding: RoundingMode,
) -> Decimal:
    """The tax on one rate's total, rounded once: Σ × r/100 on top, or Σ × r/(100 + r) of what includes it."""
    base = 100 + percent if included else Decimal(100)
    return round_to_minor_unit(EXACT.divide(taxable_amount * percent, base), currency, rounding)


def tax_totals(
    lines: Iterable[tuple[TaxCategory, Decimal]],
    *,
    on: date,
    included: bool,
    currency: str,
    rounding: RoundingMode,
) -> tuple[TaxTotal, ...]:
    """One total per rate that occurs among the lines (category and displayed amount), highest rate first, in whatever order they come."""
    sums: dict[TaxCategory, Decimal] = {}
    for category, amount in lines:
        sums[category] = sums.get(category, Decimal(0)) + amount
    return tuple(
        TaxTotal(
            category=category,
            rate_percent=rate_percent(category, on),
            taxable_amount=sums[category],
            tax_amount=tax_of(
                sums[category],
                rate_percent(category, on),
                included=included,
                currency=currency,
                rounding=rounding,
            ),
        )
        for category in TaxCategory
        if category in sums
    )
