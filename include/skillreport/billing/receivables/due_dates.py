"""Due dates of invoices, on business days of Japanese banks (銀行法施行令第5条). Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from datetime import date
from typing import Literal

import jpholiday

from include.skillreport.billing.periods import ONE_DAY, Period

_SATURDAY = 5

# Banks are closed from 31 December to 3 January.
_YEAR_END = {(12, 31), (1, 1), (1, 2), (1, 3)}

# The direction in which a due date moves if banks are closed; none: it does not move.
DueDay = Literal["next", "previous", "none"]


def due_date(period: Period, issued_on: date, months: int, moved: DueDay) -> date:
    """The end of the month ``months`` after the billing month, but not before the end of the month of issue, on a business day.

    With ``previous``, the date could be before ``issued_on``; then the next business day is used.
    """
    month = period
    for _ in range(months):
        month = Period.month_of(month.next_day)
    due_on = max(month.end, Period.month_of(issued_on).end)
    if moved == "none":
        return due_on
    if moved == "previous":
        earlier = _nearest_business_day(due_on, forward=False)
        if earlier >= issued_on:
            return earlier
    return _nearest_business_day(due_on, forward=True)


def is_business_day(day: date) -> bool:
    """Whether Japanese banks are open: no Saturday, Sunday or public holiday, and not from 31 December to 3 January."""
    return (
        day.weekday() < _SATURDAY and (day.month, day.day) not in _YEAR_END and not jpholiday.is_holiday(day)
    )


def _nearest_business_day(day: date, *, forward: bool) -> date:
    while not is_business_day(day):
        day += ONE_DAY if forward else -ONE_DAY
    return day
