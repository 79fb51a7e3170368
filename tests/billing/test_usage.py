"""How a month's closed days become the quantity that is charged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.pricing.usage import (
    BYTES_PER_GB,
    DEFAULT_STEP,
    Aggregation,
    Metric,
    UsageDay,
    quantity_of,
    round_up,
)
from tests.billing.billing_inputs import usage_days

LEVELS = [Aggregation.MAX, Aggregation.AVERAGE, Aggregation.LATEST]


def october(metric: str, figures: Sequence[int | None]) -> list[UsageDay]:
    """October's first days with these figures."""
    return [usage_days(day, day, **{metric: figure})[0] for day, figure in enumerate(figures, 1)]


def quantity(
    days: Sequence[UsageDay],
    metric: Metric,
    aggregation: Aggregation,
    *,
    step: str | None = None,
) -> str:
    figure = quantity_of(
        days,
        metric,
        aggregation,
        step=Decimal(step) if step else DEFAULT_STEP[metric],
    )
    return str(figure)


def test_calls_are_added_up() -> None:
    assert quantity(october("api_calls", [10, 0, 32]), Metric.API_CALLS, Aggregation.SUM) == "42"


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [(Aggregation.MAX, "9.00"), (Aggregation.AVERAGE, "5.34"), (Aggregation.LATEST, "2.00")],
)
def test_users_are_the_most_the_mean_or_the_last_of_the_days(aggregation: Aggregation, expected: str) -> None:
    assert quantity(october("active_users", [5, 9, 2]), Metric.ACTIVE_USERS, aggregation) == expected


@pytest.mark.parametrize("aggregation", LEVELS)
def test_the_same_storage_on_every_day_is_that_storage_and_never_thirtyfold(aggregation: Aggregation) -> None:
    assert quantity(usage_days(storage_gb=10), Metric.STORAGE_GB, aggregation) == "10.0"


@pytest.mark.parametrize(
    ("stored", "gigabytes"),
    [(0, "0.0"), (1, "0.1"), (536_870_912, "0.5"), (536_870_913, "0.6"), (1_073_741_824, "1.0")],
)
def test_one_byte_above_a_tenth_of_a_gigabyte_counts_the_next(stored: int, gigabytes: str) -> None:
    day = usage_days(1, 1)[0].model_copy(update={"storage_bytes": stored})
    assert quantity([day], Metric.STORAGE_GB, Aggregation.AVERAGE) == gigabytes


@pytest.mark.parametrize("metric", Metric)
def test_without_days_there_is_no_quantity(metric: Metric) -> None:
    assert quantity([], metric, Aggregation.LATEST) == "0"


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [(Aggregation.MAX, "9.00"), (Aggregation.AVERAGE, "7.00"), (Aggregation.LATEST, "5.00")],
)
def test_a_level_is_that_of_the_days_with_a_record(aggregation: Aggregation, expected: str) -> None:
    days = october("storage_gb", [None, 9, 5, None])
    assert quantity(days, Metric.STORAGE_GB, aggregation, step="0.01") == expected


def test_a_sum_is_of_the_days_with_a_record() -> None:
    assert quantity(october("api_calls", [10, None, 32]), Metric.API_CALLS, Aggregation.SUM) == "42"


def test_only_what_is_summed_belongs_to_the_days_it_happened_on() -> None:
    assert [aggregation.is_level for aggregation in Aggregation] == [False, True, True, True]


def test_the_average_is_over_the_closed_days_and_not_over_missing_ones() -> None:
    assert quantity(october("active_users", [10, 20]), Metric.ACTIVE_USERS, Aggregation.AVERAGE) == "15.00"


@pytest.mark.parametrize(
    ("exact", "step", "rounded"),
    [
        (Fraction(1, 3), "0.01", "0.34"),
        (Fraction(1, 3), "1", "1"),
        (Fraction(101, 100), "0.25", "1.25"),
        (Fraction(5, 4), "0.25", "1.25"),
        (Fraction(41), "10", "50"),
        (Fraction(0), "0.1", "0.0"),
    ],
)
def test_quantities_are_rounded_up_to_the_step(exact: Fraction, step: str, rounded: str) -> None:
    assert str(round_up(exact, Decimal(step))) == rounded


month_of_bytes = st.lists(st.integers(0, 10**13), min_size=31, max_size=31)


@given(month_of_bytes)
def test_the_average_of_a_month_is_rounded_up_to_a_tenth(stored: list[int]) -> None:
    days = [
        UsageDay(
            usage_date=date(2026, 10, day),
            active_users=0,
            storage_bytes=size,
            api_calls=0,
            reports_generated=0,
            revision=1,
        )
        for day, size in enumerate(stored, 1)
    ]
    mean = Fraction(sum(stored), 31 * BYTES_PER_GB)
    charged = Fraction(quantity(days, Metric.STORAGE_GB, Aggregation.AVERAGE))
    assert mean <= charged < mean + Fraction(1, 10)
    assert (charged * 10).denominator == 1


@given(st.lists(st.integers(0, 10**6), min_size=31, max_size=31), st.integers(1, 30))
def test_two_parts_of_a_month_have_no_other_average_than_the_month(users: list[int], cut: int) -> None:
    days = october("active_users", users)
    parts = [
        Fraction(quantity(half, Metric.ACTIVE_USERS, Aggregation.AVERAGE)) * Fraction(len(half), 31)
        for half in (days[:cut], days[cut:])
    ]
    mean = Fraction(sum(users), 31)
    assert mean <= sum(parts) < mean + Fraction(1, 100)


@given(st.lists(st.integers(0, 10**6), min_size=31, max_size=31), st.integers(1, 30))
def test_two_parts_of_a_month_never_have_more_than_the_months_most(users: list[int], cut: int) -> None:
    days = october("active_users", users)
    parts = [
        Fraction(quantity(half, Metric.ACTIVE_USERS, Aggregation.MAX)) * Fraction(len(half), 31)
        for half in (days[:cut], days[cut:])
    ]
    assert sum(parts) <= max(users)
