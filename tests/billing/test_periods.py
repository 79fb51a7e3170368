"""Months, the parts of them that a plan holds, proration, and when an invoice is due."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.money import EXACT, RoundingMode, round_to_minor_unit
from include.skillreport.billing.periods import Period, PlanChange, plan_parts, prorate

OCTOBER = Period.month_of(date(2026, 10, 15))
SINCE_EVER = date(2020, 1, 1)


def change(on: date, plan: str | None) -> PlanChange:
    return PlanChange(effective_from=on, plan=plan)


def parts(
    *changes: PlanChange,
    period: Period = OCTOBER,
    contract_start: date | None = None,
    contract_end: date | None = None,
) -> list[tuple[str, int, int]]:
    """Plan, first and last day of the month of each part."""
    found = plan_parts(period, changes, contract_start=contract_start, contract_end=contract_end)
    return [(each.plan, each.part.start.day, each.part.end.day) for each in found]


def test_one_plan_holds_the_whole_month() -> None:
    assert parts(change(SINCE_EVER, "BASIC")) == [("BASIC", 1, 31)]


def test_a_change_inside_the_month_makes_two_parts() -> None:
    changes = [change(SINCE_EVER, "BASIC"), change(date(2026, 10, 16), "STANDARD")]
    assert parts(*changes) == [("BASIC", 1, 15), ("STANDARD", 16, 31)]


def test_a_plan_may_last_one_day() -> None:
    changes = [
        change(SINCE_EVER, "BASIC"),
        change(date(2026, 10, 30), "STANDARD"),
        change(date(2026, 10, 31), "PREMIUM"),
    ]
    assert parts(*changes) == [("BASIC", 1, 29), ("STANDARD", 30, 30), ("PREMIUM", 31, 31)]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (date(2026, 9, 30), [("STANDARD", 1, 31)]),
        (date(2026, 10, 1), [("STANDARD", 1, 31)]),
        (date(2026, 10, 31), [("BASIC", 1, 30), ("STANDARD", 31, 31)]),
        (date(2026, 11, 1), [("BASIC", 1, 31)]),
    ],
)
def test_a_change_holds_from_its_own_day(on: date, expected: list[tuple[str, int, int]]) -> None:
    assert parts(change(SINCE_EVER, "BASIC"), change(on, "STANDARD")) == expected


def test_before_the_first_plan_there_is_none() -> None:
    assert parts(change(date(2026, 10, 20), "BASIC")) == [("BASIC", 20, 31)]
    assert parts(change(date(2026, 11, 1), "BASIC")) == []


def test_without_a_plan_history_there_is_no_part() -> None:
    assert parts() == []


def test_an_ended_plan_leaves_the_rest_of_the_month_without_one() -> None:
    assert parts(change(SINCE_EVER, "BASIC"), change(date(2026, 10, 11), None)) == [("BASIC", 1, 10)]


def test_a_plan_may_begin_again_after_it_ended() -> None:
    changes = [
        change(SINCE_EVER, "BASIC"),
        change(date(2026, 10, 11), None),
        change(date(2026, 10, 21), "BASIC"),
    ]
    assert parts(*changes) == [("BASIC", 1, 10), ("BASIC", 21, 31)]


def test_the_same_plan_recorded_twice_is_one_part() -> None:
    changes = [
        change(SINCE_EVER, "BASIC"),
        change(date(2026, 10, 11), "BASIC"),
        change(date(2026, 10, 21), "BASIC"),
    ]
    assert parts(*changes) == [("BASIC", 1, 31)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (date(2026, 10, 12), None, [("BASIC", 12, 31)]),
        (None, date(2026, 10, 12), [("BASIC", 1, 12)]),
        (date(2026, 10, 5), date(2026, 10, 5), [("BASIC", 5, 5)]),
        (date(2026, 10, 1), date(2026, 10, 31), [("BASIC", 1, 31)]),
        (date(2026, 11, 1), None, []),
        (None, date(2026, 9, 30), []),
    ],
)
def test_only_days_of_the_contract_count(
    start: date | None, end: date | None, expected: list[tuple[str, int, int]]
) -> None:
    assert parts(change(SINCE_EVER, "BASIC"), contract_start=start, contract_end=end) == expected


def test_a_contract_cuts_the_parts_of_a_change_too() -> None:
    changes = [change(SINCE_EVER, "BASIC"), change(date(2026, 10, 16), "STANDARD")]
    found = parts(*changes, contract_start=date(2026, 10, 14), contract_end=date(2026, 10, 17))
    assert found == [("BASIC", 14, 15), ("STANDARD", 16, 17)]


def test_february_of_a_leap_year_has_29_days() -> None:
    february = Period.month_of(date(2028, 2, 10))
    changes = [change(SINCE_EVER, "BASIC"), change(date(2028, 2, 29), "STANDARD")]
    assert february.days == 29
    assert parts(*changes, period=february) == [("BASIC", 1, 28), ("STANDARD", 29, 29)]


def test_a_month_knows_its_days() -> None:
    assert Period(start=date(2026, 10, 1), end=date(2026, 10, 31)) == OCTOBER
    assert [day.day for day in OCTOBER.dates()] == list(range(1, 32))
    assert [OCTOBER.holds(date(2026, *day)) for day in [(9, 30), (10, 1), (10, 31), (11, 1)]] == [
        False,
        True,
        True,
        False,
    ]
    assert OCTOBER.next_day == date(2026, 11, 1)
    assert Period.month_of(date(2026, 12, 31)).next_day == date(2027, 1, 1)


@pytest.mark.parametrize(
    ("fee", "days", "floor", "half_up"),
    [(10000, 6, 1935, 1935), (30000, 16, 15483, 15484), (10000, 31, 10000, 10000), (10000, 1, 322, 323)],
)
def test_a_monthly_fee_is_prorated_by_the_days_of_the_month(
    fee: int, days: int, floor: int, half_up: int
) -> None:
    exact = prorate(Decimal(fee), days, 31)
    assert round_to_minor_unit(exact, "JPY", RoundingMode.FLOOR) == floor
    assert round_to_minor_unit(exact, "JPY", RoundingMode.HALF_UP) == half_up


def test_a_prorated_fee_that_is_a_whole_number_is_exact() -> None:
    assert prorate(Decimal(3100), 7, 31) == 700
    assert prorate(Decimal("14.5"), 1, 29) == Decimal("0.5")


fees = st.integers(0, 10**9).map(Decimal)


@given(fees, st.sets(st.integers(1, 30)), st.sampled_from(RoundingMode))
def test_the_exact_parts_of_a_month_add_up_to_the_whole(
    fee: Decimal, cuts: set[int], mode: RoundingMode
) -> None:
    edges = [0, *sorted(cuts), 31]
    exact = reduce(EXACT.add, (prorate(fee, end - start, 31) for start, end in pairwise(edges)))
    total = round_to_minor_unit(exact, "JPY", mode)
    assert abs(total - fee) <= 1


@given(fees, st.integers(1, 30), st.sampled_from(RoundingMode))
def test_two_displayed_parts_differ_from_the_whole_by_one_yen_at_most(
    fee: Decimal, days: int, mode: RoundingMode
) -> None:
    shown = [round_to_minor_unit(prorate(fee, part, 31), "JPY", mode) for part in (days, 31 - days)]
    assert abs(sum(shown) - fee) <= 1
