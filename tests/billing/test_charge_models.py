"""The amounts of the charge models, at their tiers' edges."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from include.skillreport.billing.pricing.charge_models import Charge
from include.skillreport.billing.pricing.charge_models.tiers import Tier

CHARGE: TypeAdapter[Any] = TypeAdapter(Charge)


def charge(model: str, **fields: Any) -> Any:
    """A charge as the price list has it."""
    return CHARGE.validate_python(
        {"name": "API", "metric": "api_calls", "aggregation": "sum", "model": model} | fields
    )


def amount_of(model: str, quantity: Decimal, **fields: Any) -> Decimal:
    """The amount for a quantity of which some units may be free."""
    made = charge(model, **fields)
    return Decimal(made.amount(max(quantity - made.free, Decimal(0))))


def graduated(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """The amount for a quantity with these tiers."""
    return amount_of("graduated", quantity, tiers=tiers)


def volume(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """The amount for a quantity with these tiers."""
    return amount_of("volume", quantity, tiers=tiers)


def tier(edge: object, unit: object, flat: object = 0) -> Tier:
    """A tier up to an edge (None: without end)."""
    return Tier.model_validate({"up_to": edge, "unit_amount": unit, "flat_amount": flat})


def tiers(*rows: tuple[str | None, str, str]) -> list[Tier]:
    """Upper edge, price of a unit, flat amount."""
    return [tier(*row) for row in rows]


GRADUATED = tiers(("10", "10", "2"), ("20", "5", "3"), (None, "5", "3"))
VOLUME = tiers(("100", "2", "10"), ("200", "1", "0"), (None, "0.5", "50"))


@pytest.mark.parametrize(
    ("quantity", "included", "amount"), [("0", "0", 0), ("12", "0", 60), ("12", "10", 10), ("9.5", "10", 0)]
)
def test_each_unit_above_the_included_ones_costs_the_same(quantity: str, included: str, amount: int) -> None:
    assert amount_of("standard", Decimal(quantity), unit_amount=5, included=included) == amount


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("0", "2"),
        ("1", "12"),
        ("10", "102"),
        ("10.5", "107.5"),
        ("11", "110"),
        ("12", "115"),
        ("20", "155"),
        ("21", "163"),
    ],
)
def test_graduated_prices_apply_per_tier_with_their_flat_amounts(quantity: str, amount: str) -> None:
    assert graduated(Decimal(quantity), GRADUATED) == Decimal(amount)


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("0", "10"),
        ("1", "12"),
        ("100", "210"),
        ("100.5", "100.5"),
        ("101", "101"),
        ("200", "200"),
        ("300", "200"),
    ],
)
def test_volume_prices_apply_to_the_whole_quantity(quantity: str, amount: str) -> None:
    assert volume(Decimal(quantity), VOLUME) == Decimal(amount)


def test_one_more_unit_may_cost_less_with_volume_prices() -> None:
    assert volume(Decimal(100), VOLUME) == 210
    assert volume(Decimal(101), VOLUME) == 101


@pytest.mark.parametrize(
    ("quantity", "free", "amount"),
    [
        ("0", "0", 0),
        ("0.1", "0", 100),
        ("10", "0", 100),
        ("121", "0", 1300),
        ("121", "10", 1200),
        ("121", "200", 0),
    ],
)
def test_a_package_begun_is_a_package_paid(quantity: str, free: str, amount: int) -> None:
    prices = {"package_size": 10, "package_amount": 100, "free_units": free}
    assert amount_of("package", Decimal(quantity), **prices) == amount


@pytest.mark.parametrize(("quantity", "amount"), [("2.1", 3), ("2.11", 4)])
def test_a_package_may_be_smaller_than_a_unit(quantity: str, amount: int) -> None:
    assert amount_of("package", Decimal(quantity), package_size="0.7", package_amount=1) == amount


@pytest.mark.parametrize(
    ("amount", "events", "expected"),
    [
        ("10000", "0", "250"),
        ("10000", "2", "250"),
        ("10000", "3", "280"),
        ("0", "5", "90"),
        ("1", "0", "0.025"),
    ],
)
def test_a_percentage_adds_a_fixed_amount_per_event_not_free(amount: str, events: str, expected: str) -> None:
    share = charge("percentage", of="all", rate="2.5", fixed_amount=30, free_events=2)
    charged = max(Decimal(events) - share.free, Decimal(0))
    assert share.share_of(Decimal(amount)) + share.amount(charged) == Decimal(expected)


quantities = st.decimals(0, 1000, places=2)


@st.composite
def rising_tiers(draw: st.DrawFn, *, flat: bool) -> list[Tier]:
    """Up to four tiers, the last one without end."""
    edges = sorted(draw(st.sets(st.decimals("0.01", 500, places=2), max_size=3)))
    amounts = st.decimals(0, 100, places=3)
    return [tier(edge, draw(amounts), draw(amounts) if flat else 0) for edge in [*edges, None]]


@given(rising_tiers(flat=True), quantities, quantities)
def test_more_units_never_cost_less_with_graduated_prices(
    prices: list[Tier], one: Decimal, other: Decimal
) -> None:
    less, more = sorted([one, other])
    assert graduated(less, prices) <= graduated(more, prices)


@given(rising_tiers(flat=False))
def test_graduated_prices_have_no_jump_where_no_tier_has_a_flat_amount(prices: list[Tier]) -> None:
    step = Decimal("0.000001")
    for ending, following in pairwise(prices):
        assert ending.up_to is not None
        jump = graduated(ending.up_to + step, prices) - graduated(ending.up_to, prices)
        assert jump == step * following.unit_amount


@given(rising_tiers(flat=True), quantities)
def test_tiers_that_all_cost_the_same_are_one_standard_price(prices: list[Tier], quantity: Decimal) -> None:
    alike = [tier(each.up_to, "1.5") for each in prices]
    expected = amount_of("standard", quantity, unit_amount="1.5")
    assert graduated(quantity, alike) == volume(quantity, alike) == expected
