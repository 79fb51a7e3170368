"""An invoice is due on a day on which banks are open, long enough after its letter leaves."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.due_dates import (
    PaymentTerms,
    due_date,
    is_business_day,
    leaving_day,
)
from include.skillreport.billing.settings import BillingSettings

OCTOBER = Period.month_of(date(2026, 10, 1))
SETTINGS = BillingSettings.load().model_copy(update={"letters_on": "bank_day"})

# The end of the next month, the end of the month after it, and the 20th of the next month.
USUAL, LATER, THE_20TH = PaymentTerms(1), PaymentTerms(2, is_own=True), PaymentTerms(1, 20, is_own=True)


def settings(**changes: Any) -> BillingSettings:
    return SETTINGS.model_copy(update=changes)


def due(terms: PaymentTerms, issued_on: date, period: Period = OCTOBER, **changes: Any) -> date:
    """The due date of an invoice that is issued on this day."""
    chosen = settings(**changes)
    return due_date(chosen, terms, period, leaving_day(chosen, issued_on))


@pytest.mark.parametrize(
    ("issued_on", "leaves_on"),
    [
        # A Sunday, and the Monday after it: the first business day after the issue.
        (date(2026, 11, 1), date(2026, 11, 2)),
        # 3 November is a holiday.
        (date(2026, 11, 2), date(2026, 11, 4)),
        (date(2027, 1, 1), date(2027, 1, 4)),
        # From Saturday 1 May 2027 to Wednesday 5 May are holidays.
        (date(2027, 5, 1), date(2027, 5, 6)),
    ],
)
def test_a_letter_leaves_on_the_business_day_after_its_issue(issued_on: date, leaves_on: date) -> None:
    assert leaving_day(SETTINGS, issued_on) == leaves_on


def test_a_letter_of_an_afternoon_is_not_due_before_it_leaves() -> None:
    """With letters_on: issue, an invoice that is issued after 9:00 is sent on the next morning."""
    changes: dict[str, Any] = {"letters_on": "issue", "due_least_days": 0}
    assert due(USUAL, date(2026, 11, 29), **changes) == date(2026, 11, 30)
    assert due(USUAL, date(2026, 11, 30), **changes) == date(2027, 1, 4)


def test_a_letter_leaves_later_or_at_once_as_set() -> None:
    sunday = date(2026, 11, 1)
    assert leaving_day(settings(review_days=3), sunday) == date(2026, 11, 5)
    assert leaving_day(settings(letters_on="issue"), sunday) == sunday


@pytest.mark.parametrize(
    ("billing_month", "issued_on", "months", "due_on"),
    [
        (date(2026, 10, 1), date(2026, 11, 1), 1, date(2026, 11, 30)),
        # December's end, a Thursday, is no business day.
        (date(2026, 11, 1), date(2026, 12, 1), 1, date(2027, 1, 4)),
        (date(2026, 12, 1), date(2027, 1, 1), 1, date(2027, 2, 1)),
        (date(2027, 1, 1), date(2027, 2, 1), 1, date(2027, 3, 1)),
        (date(2026, 10, 1), date(2026, 11, 1), 2, date(2027, 1, 4)),
        (date(2026, 10, 1), date(2026, 11, 1), 0, date(2026, 11, 30)),
    ],
)
def test_the_normal_run_is_due_at_the_month_end_of_the_terms(
    billing_month: date, issued_on: date, months: int, due_on: date
) -> None:
    assert due(PaymentTerms(months), issued_on, Period.month_of(billing_month)) == due_on


@pytest.mark.parametrize(
    ("issued_on", "due_on"),
    [
        # The letter leaves on the 10th, 20 days before the month's end.
        (date(2026, 11, 9), date(2026, 11, 30)),
        (date(2026, 11, 10), date(2027, 1, 4)),
        # Approved at the month's end: mailed on 1 December, and not due on 30 November.
        (date(2026, 11, 30), date(2027, 1, 4)),
        (date(2027, 3, 5), date(2027, 3, 31)),
    ],
)
def test_a_late_invoice_is_due_at_least_20_days_after_its_letter(issued_on: date, due_on: date) -> None:
    assert due(USUAL, issued_on) == due_on


@pytest.mark.parametrize(
    ("terms", "issued_on", "due_on"),
    [
        (THE_20TH, date(2026, 11, 1), date(2026, 11, 20)),
        # A day later, the letter leaves after that of the normal run.
        (THE_20TH, date(2026, 11, 2), date(2026, 12, 21)),
        (THE_20TH, date(2026, 11, 20), date(2026, 12, 21)),
        (LATER, date(2026, 11, 1), date(2027, 1, 4)),
        (PaymentTerms(0, 31, is_own=True), date(2026, 11, 1), date(2026, 11, 2)),
        (PaymentTerms(4, is_own=True), date(2026, 11, 1), date(2027, 3, 1)),
    ],
)
def test_own_terms_keep_their_day_in_the_normal_run_only(
    terms: PaymentTerms, issued_on: date, due_on: date
) -> None:
    assert due(terms, issued_on) == due_on


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
    moves = {"next": following, "previous": preceding, "none": month_end}

    moved = {name: due(PaymentTerms(0), period.start, period, due_day=name) for name in moves}

    assert moved == moves


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
    st.integers(0, 400),
    st.builds(PaymentTerms, st.integers(0, 12), st.integers(1, 31), is_own=st.booleans()),
    st.sampled_from(["next", "previous"]),
    st.sampled_from(["bank_day", "issue"]),
)
def test_no_letter_arrives_after_its_due_date(
    month: date, days_later: int, terms: PaymentTerms, due_day: str, letters_on: str
) -> None:
    period = Period.month_of(month)
    chosen = settings(due_day=due_day, letters_on=letters_on)
    leaves_on = leaving_day(chosen, period.next_day + timedelta(days=days_later))

    due_on = due_date(chosen, terms, period, leaves_on)

    assert is_business_day(due_on)
    is_late = leaves_on > leaving_day(chosen, period.next_day)
    least = 0 if terms.is_own and not is_late else chosen.due_least_days
    assert due_on >= leaves_on + timedelta(days=least)
    # The month before is too near, or before the terms.
    assert due_on <= max(
        leaves_on + timedelta(days=least), period.end + timedelta(days=31 * terms.months)
    ) + timedelta(days=45)
