"""The amount for a quantity under each of the charge models. Pure; amounts are exact and in the price's currency.

Quantities exclude free quantities. A fraction of a unit (storage) is charged as a fraction, except in packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from include.skillreport.billing.money import EXACT

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Tier:
    """Quantities above the previous tier and up to ``up_to`` (inclusive; None: no limit)."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = _ZERO

    def holds(self, quantity: Decimal) -> bool:
        """Whether the quantity is not above this tier."""
        return self.up_to is None or quantity <= self.up_to


def standard(quantity: Decimal, *, unit_amount: Decimal, included: Decimal = _ZERO) -> Decimal:
    """Every unit above the included units has the same price."""
    return max(quantity - included, _ZERO) * unit_amount


def graduated(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """Each tier's part of the quantity at the tier's price, plus the flat amount of every tier that is reached.

    The first tier is reached at 0, so that its flat amount is charged without usage. Another tier is reached just above its lower edge.
    """
    amount, lower = _ZERO, _ZERO
    for tier in tiers:
        upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
        amount += (upper - lower) * tier.unit_amount + tier.flat_amount
        lower = upper
        if tier.holds(quantity):
            break
    return amount


def volume(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """The whole quantity at the price of the tier it falls into, plus that tier's flat amount.

    The amount may fall at a tier's edge, because the next tier's price applies to the whole quantity.
    """
    tier = next(tier for tier in tiers if tier.holds(quantity))
    return quantity * tier.unit_amount + tier.flat_amount


def package(
    quantity: Decimal, *, package_size: Decimal, package_amount: Decimal, free_units: Decimal = _ZERO
) -> Decimal:
    """Whole packages: a partly used package is charged in full."""
    charged = max(quantity - free_units, _ZERO)
    packages = EXACT.divide(charged, package_size).to_integral_value(ROUND_CEILING)
    return packages * package_amount


def percentage(
    amount: Decimal,
    events: Decimal,
    *,
    rate: Decimal,
    fixed_amount: Decimal = _ZERO,
    free_amount: Decimal = _ZERO,
    free_events: Decimal = _ZERO,
) -> Decimal:
    """``rate`` percent of the amount without the free part, plus a fixed amount for each event that is not free."""
    charged = max(amount - free_amount, _ZERO)
    return charged * rate / 100 + max(events - free_events, _ZERO) * fixed_amount
