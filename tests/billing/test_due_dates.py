"""An invoice is due at a month's end, on a day on which banks are open."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.due_dates import DueDay, due_date, is_business_day

OCTOBER = Period.month_of(date(2026, 10, 1))


@pytest.mark.parametrize(
    ("billing_month", "issued_on", "months", "due_on"),
    [
        (date(2026, 10, 1), date(2026, 11, 1), 1, date(2026, 11, 30)),
        (date(2026, 12, 1), date(2027, 1, 1), 1, date(2027, 1, 31)),
        (date(2027, 1, 1), date(2027, 2, 1), 1, date(2027, 2, 28)),
        (date(2026, 10, 1), date(2026, 11, 1), 2, date(2026, 12, 31)),
        (date(2026, 10, 1), date(2026, 10, 31), 0, date(2026, 10, 31)),
        (date(2026, 10, 1), date(2026, 11, 1), 0, date(2026, 11, 30)),
        (date(2026, 10, 1), date(2026, 11, 30), 4, date(2027, 2, 28)),
        (date(2026, 10, 1), date(2027, 2, 14), 1, date(2027, 2, 28)),
        (date(2026, 10, 1), date(2027, 3, 5), 1, date(2027, 3, 31)),
    ],
)
def test_the_due_date_is_a_month_end_after_the_issue(
    billing_month: date, issued_on: date, months: int, due_on: date
) -> None:
    assert due_date(Period.month_of(billing_month), issued_on, months, "none") == due_on


@pytest.mark.parametrize(
    ("month_end", "following", "preceding"),
    [
        # A Saturday and a Sunday.
        (date(2026, 10, 31), date(2026, 11, 2), date(2026, 10, 30)),
        (date(2027, 1, 31), date(2027, 2, 1), date(2027, 1, 29)),
        # The year's end: 4 January 2027 is a Monday; 4 January 2026 is a Sunday.
        (date(2026, 12, 31), date(2027, 1, 4), date(2026, 12, 30)),
        (date(2025, 12, 31), date(2026, 1, 5), date(2025, 12, 30)),
        # 30 April is a Friday before the holidays of May; 31 May 2026 is a Sunday.
        (date(2027, 4, 30), date(2027, 4, 30), date(2027, 4, 30)),
        (date(2026, 5, 31), date(2026, 6, 1), date(2026, 5, 29)),
        (date(2026, 11, 30), date(2026, 11, 30), date(2026, 11, 30)),
    ],
)
def test_a_due_date_on_a_holiday_moves_as_set(month_end: date, following: date, preceding: date) -> None:
    period = Period.month_of(month_end)
    issued_on = period.start
    moves: dict[DueDay, date] = {"next": following, "previous": preceding, "none": month_end}

    assert {moved: due_date(period, issued_on, 0, moved) for moved in moves} == moves


def test_a_due_date_never_moves_before_the_date_of_issue() -> None:
    # 31 October 2026 is a Saturday.
    assert due_date(OCTOBER, date(2026, 10, 31), 0, "previous") == date(2026, 11, 2)


@pytest.mark.parametrize(
    "closed",
    [
        date(2026, 5, 6),  # 振替休日: Constitution Day is a Sunday
        date(2026, 9, 22),  # 国民の休日 between two holidays
        date(2027, 3, 22),  # 振替休日 of the vernal equinox
        date(2026, 12, 31),
        date(2027, 1, 1),
        date(2028, 1, 3),
        date(2026, 11, 28),
        date(2026, 11, 29),
    ],
)
def test_banks_are_closed_on_holidays_weekends_and_at_the_year_end(closed: date) -> None:
    assert not is_business_day(closed)


@pytest.mark.parametrize("open_day", [date(2026, 12, 30), date(2027, 1, 4), date(2026, 11, 30)])
def test_banks_are_open_on_other_days(open_day: date) -> None:
    assert is_business_day(open_day)


@given(
    st.dates(date(2024, 1, 1), date(2060, 12, 31)),
    st.integers(0, 60),
    st.integers(0, 12),
    st.sampled_from(["next", "previous"]),
)
def test_a_due_date_is_a_business_day_near_the_month_end(
    month: date, days_later: int, months: int, moved: DueDay
) -> None:
    period = Period.month_of(month)
    issued_on = period.next_day + timedelta(days=days_later)

    due_on = due_date(period, issued_on, months, moved)

    assert is_business_day(due_on)
    assert due_on >= issued_on
    assert abs(due_on - due_date(period, issued_on, months, "none")) <= timedelta(days=10)
