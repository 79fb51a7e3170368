"""What a quantity costs under each of the five charge models. Pure: Decimals in, the exact amount out, in the price's currency.

Quantities are what is left after free quantities; a fraction of a unit (storage) is charged as a fraction, except in packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from include.billing.money import EXACT

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Tier:
    """Quantities above the tier before and up to ``up_to`` (inclusive; None: without end)."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = _ZERO

    def holds(self, quantity: Decimal) -> bool:
        """Whether the quantity does not go beyond this tier."""
        return self.up_to is None or quantity <= self.up_to


def standard(quantity: Decimal, *, unit_amount: Decimal, included: Decimal = _ZERO) -> Decimal:
    """Each unit above the included ones costs the same."""
    return max(quantity - included, _ZERO) * unit_amount


def graduated(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """Each tier's part of the quantity at the tier's price, and the flat amount of every tier entered.

    The first tier is entered at 0: its flat amount is charged without any usage. The others are entered just above their lower edge.
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
    """The tier that holds the quantity prices all of it, and adds its flat amount.

    One unit more may cost less: at a tier's edge the whole quantity moves to the next, cheaper price.
    """
    tier = next(tier for tier in tiers if tier.holds(quantity))
    return quantity * tier.unit_amount + tier.flat_amount


def package(
    quantity: Decimal, *, package_size: Decimal, package_amount: Decimal, free_units: Decimal = _ZERO
) -> Decimal:
    """Whole packages only: one begun is one paid."""
    charged = max(quantity - free_units, _ZERO)
    packages = EXACT.divide(charged, package_size).to_integral_value(ROUND_CEILING)
    return packages * package_amount


def percentage(
    amount: Decimal,
    events: Decimal,
    *,
    rate: Decimal,
    fixed_amount: Decimal = _ZERO,
    free_events: Decimal = _ZERO,
) -> Decimal:
    """``rate`` percent of an amount, and a fixed amount for each event that is not free."""
    return amount * rate / 100 + max(events - free_events, _ZERO) * fixed_amount
