"""The five charge models, at their tiers' edges."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.skillreport.billing.pricing.charge_models import (
    Tier,
    graduated,
    package,
    percentage,
    standard,
    volume,
)


def tiers(*rows: tuple[str | None, str, str]) -> list[Tier]:
    """Upper edge, price of a unit, flat amount."""
    return [
        Tier(None if edge is None else Decimal(edge), Decimal(unit), Decimal(flat))
        for edge, unit, flat in rows
    ]


GRADUATED = tiers(("10", "10", "2"), ("20", "5", "3"), (None, "5", "3"))
VOLUME = tiers(("100", "2", "10"), ("200", "1", "0"), (None, "0.5", "50"))


@pytest.mark.parametrize(
    ("quantity", "included", "amount"), [("0", "0", 0), ("12", "0", 60), ("12", "10", 10), ("9.5", "10", 0)]
)
def test_each_unit_above_the_included_ones_costs_the_same(quantity: str, included: str, amount: int) -> None:
    assert standard(Decimal(quantity), unit_amount=Decimal(5), included=Decimal(included)) == amount


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
    charged = package(
        Decimal(quantity), package_size=Decimal(10), package_amount=Decimal(100), free_units=Decimal(free)
    )
    assert charged == amount


@pytest.mark.parametrize(("quantity", "amount"), [("2.1", 3), ("2.11", 4)])
def test_a_package_may_be_smaller_than_a_unit(quantity: str, amount: int) -> None:
    assert package(Decimal(quantity), package_size=Decimal("0.7"), package_amount=Decimal(1)) == amount


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
    charged = percentage(
        Decimal(amount),
        Decimal(events),
        rate=Decimal("2.5"),
        fixed_amount=Decimal(30),
        free_events=Decimal(2),
    )
    assert charged == Decimal(expected)


quantities = st.decimals(0, 1000, places=2)


@st.composite
def rising_tiers(draw: st.DrawFn, *, flat: bool) -> list[Tier]:
    """Up to four tiers, the last one without end."""
    edges = sorted(draw(st.sets(st.decimals("0.01", 500, places=2), max_size=3)))
    amounts = st.decimals(0, 100, places=3)
    return [Tier(edge, draw(amounts), draw(amounts) if flat else Decimal(0)) for edge in [*edges, None]]


@given(rising_tiers(flat=True), quantities, quantities)
@settings(deadline=None)
def test_more_units_never_cost_less_with_graduated_prices(
    prices: list[Tier], one: Decimal, other: Decimal
) -> None:
    less, more = sorted([one, other])
    assert graduated(less, prices) <= graduated(more, prices)


@given(rising_tiers(flat=False))
@settings(deadline=None)
def test_graduated_prices_have_no_jump_where_no_tier_has_a_flat_amount(prices: list[Tier]) -> None:
    step = Decimal("0.000001")
    for tier, following in pairwise(prices):
        assert tier.up_to is not None
        assert (
            graduated(tier.up_to + step, prices) - graduated(tier.up_to, prices)
            == step * following.unit_amount
        )


@given(rising_tiers(flat=True), quantities)
@settings(deadline=None)
def test_tiers_that_all_cost_the_same_are_one_standard_price(prices: list[Tier], quantity: Decimal) -> None:
    alike = [Tier(tier.up_to, Decimal("1.5")) for tier in prices]
    expected = standard(quantity, unit_amount=Decimal("1.5"))
    assert graduated(quantity, alike) == volume(quantity, alike) == expected
