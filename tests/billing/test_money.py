"""Decimals of a currency, and the one place where amounts are rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import RoundingMode, has_minor_units, minor_unit, round_to_minor_unit


@pytest.mark.parametrize(("currency", "unit"), [("JPY", "1"), ("USD", "0.01"), ("KWD", "0.001")])
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, unit: str) -> None:
    assert str(minor_unit(currency)) == unit


@pytest.mark.parametrize("currency", ["YEN", "jpy", "", "XAU", "XXX"])
def test_codes_that_are_no_money_are_no_currency(currency: str) -> None:
    with pytest.raises(BillingError, match=f"通貨 '{currency}' は ISO 4217 の通貨ではありません") as refusal:
        minor_unit(currency)
    assert refusal.value.code == "UNKNOWN_CURRENCY"


@pytest.mark.parametrize(
    ("amount", "currency", "floor", "half_up", "ceil"),
    [
        ("10.4", "JPY", "10", "10", "11"),
        ("10.5", "JPY", "10", "11", "11"),
        ("10", "JPY", "10", "10", "10"),
        ("0.001", "JPY", "0", "0", "1"),
        ("19.3548", "USD", "19.35", "19.35", "19.36"),
        ("19.355", "USD", "19.35", "19.36", "19.36"),
        ("19.3548", "KWD", "19.354", "19.355", "19.355"),
        ("5", "USD", "5.00", "5.00", "5.00"),
    ],
)
def test_an_amount_is_rounded_to_the_minor_unit_as_the_issuer_chose(
    amount: str, currency: str, floor: str, half_up: str, ceil: str
) -> None:
    rounded = [str(round_to_minor_unit(Decimal(amount), currency, mode)) for mode in RoundingMode]
    assert rounded == [floor, half_up, ceil]


@given(st.decimals(-(10**12), 10**12, places=6), st.sampled_from(RoundingMode))
def test_a_negative_amount_mirrors_the_positive_one(amount: Decimal, mode: RoundingMode) -> None:
    assert round_to_minor_unit(-amount, "JPY", mode) == -round_to_minor_unit(amount, "JPY", mode)


def test_no_amount_is_minus_zero() -> None:
    assert str(round_to_minor_unit(Decimal("-0.4"), "JPY", RoundingMode.FLOOR)) == "0"


@pytest.mark.parametrize(
    ("amount", "currency", "payable"),
    [
        ("1", "JPY", True),
        ("1.0", "JPY", True),
        ("0.5", "JPY", False),
        ("0.55", "USD", True),
        ("0.555", "USD", False),
        ("0.555", "KWD", True),
    ],
)
def test_only_whole_minor_units_can_be_paid(amount: str, currency: str, payable: bool) -> None:
    assert has_minor_units(Decimal(amount), currency) is payable
