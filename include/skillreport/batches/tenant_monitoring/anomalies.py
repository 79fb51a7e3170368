"""The usual values of an hour of the week, and a value's deviation from them. Pure.

Source: BATCH-018-03's rules: the same hour of the week (Asia/Tokyo) over four weeks, Japanese holidays as Sundays; modified z after
Iglewicz and Hoaglin (1993).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from statistics import median

import jpholiday

from include.skillreport.core.execution.business_date import JAPAN

HISTORY_DAYS = 28
MEASURES_KEPT = timedelta(weeks=5)
# With values from fewer weeks, there is no usual value.
LEAST_WEEKS = 3

# Makes the MAD of normally distributed values comparable with their standard deviation.
_SCALE = Decimal("0.6745")
_SUNDAY = 6


@dataclass(frozen=True)
class Score:
    """The distance of ``value`` from the earlier values. ``spread`` is their MAD, or the replacement for a MAD of 0."""

    value: Decimal
    median: Decimal
    mad: Decimal
    spread: Decimal

    @property
    def z(self) -> Decimal:
        """The modified z-score; negative below the median."""
        return _SCALE * (self.value - self.median) / self.spread


def score(
    value: Decimal, history: Sequence[Decimal], *, floor_percent: Decimal, least_spread: Decimal
) -> Score:
    """Compare a value with the earlier values (at least one; the value itself is not among them).

    A MAD of 0 is replaced by ``floor_percent`` of the median or by ``least_spread`` (above 0), whichever is larger.
    """
    middle = median(history)
    mad = median(abs(past - middle) for past in history)
    return Score(value, middle, mad, mad or max(middle * floor_percent / 100, least_spread))


def usual_hours(hour: datetime) -> list[datetime]:
    """The same hour on days of the same kind (Asia/Tokyo) in the four weeks before ``hour`` (aware), newest first."""
    local = hour.astimezone(JAPAN)
    days = (local - timedelta(days=days_ago) for days_ago in range(1, HISTORY_DAYS + 1))
    return [day for day in days if _kind_of(day.date()) == _kind_of(local.date())]


def weeks_of(hours: Iterable[datetime], hour: datetime) -> int:
    """The number of different weeks before ``hour`` that contain these earlier hours."""
    return len({((hour - past).days - 1) // 7 for past in hours})


@cache
def _kind_of(day: date) -> int:
    """The weekday, Monday is 0; a holiday counts as a Sunday."""
    return _SUNDAY if jpholiday.is_holiday(day) else day.weekday()
