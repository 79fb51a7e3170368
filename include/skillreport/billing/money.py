"""Amounts of money: always Decimal, with the currency's number of decimals. Only this module rounds them.

ISO 4217 defines the decimals: none for JPY, two for USD, three for KWD.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from functools import cache

from iso4217 import Currency

from include.skillreport.billing.errors import BillingError

YEN = "JPY"

# The precision of divisions. Each line has at most one division. A quotient that is a whole or half number of minor units is exact. Any
# other quotient is far enough from such a number to be rounded correctly.
EXACT = Context(prec=60)


class RoundingMode(StrEnum):
    """How a fraction of the minor unit is rounded. The issuer chooses it for lines and tax (消費税の端数処理)."""

    FLOOR = "floor"
    HALF_UP = "half-up"
    CEIL = "ceil"


_ROUNDING = {
    RoundingMode.FLOOR: ROUND_FLOOR,
    RoundingMode.HALF_UP: ROUND_HALF_UP,
    RoundingMode.CEIL: ROUND_CEILING,
}


@cache
def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 1 for JPY, 0.01 for USD, 0.001 for KWD.

    :raises BillingError: ISO 4217 has no such currency, or the currency has no minor unit (gold).
    """
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise BillingError(
            "UNKNOWN_CURRENCY",
            f"通貨 '{currency}' は ISO 4217 の通貨ではありません。テナントの通貨（currency_code）を直してください",
        )
    return Decimal(1).scaleb(-exponent)


def round_to_minor_unit(amount: Decimal, currency: str, mode: RoundingMode) -> Decimal:
    """The amount in whole minor units. The absolute value is rounded, so a credit note has the same amounts as its original."""
    rounded = abs(amount).quantize(minor_unit(currency), rounding=_ROUNDING[mode], context=EXACT)
    return -rounded if amount < 0 else rounded


def in_yen(amount: Decimal, yen_per_unit: Decimal) -> Decimal:
    """The amount in whole yen, rounded half up, as in the books."""
    return round_to_minor_unit(EXACT.multiply(amount, yen_per_unit), YEN, RoundingMode.HALF_UP)


def has_minor_units(amount: Decimal, currency: str) -> bool:
    """True if the amount is a whole number of minor units."""
    return amount == amount.quantize(minor_unit(currency), context=EXACT)


def storable(exact: Decimal) -> Decimal:
    """The amount with the 30 decimals of the host's NUMERIC(65,30), without trailing zeros."""
    value = exact.quantize(Decimal(1).scaleb(-30), context=EXACT)
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize(EXACT)
