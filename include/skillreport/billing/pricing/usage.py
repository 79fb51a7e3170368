"""The charged quantity, from the closed days of a period. Pure; days are Asia/Tokyo dates.

``sum`` is for events (API calls, reports). ``max``, ``average`` and ``latest`` are for levels (users, storage), which have monthly prices:
a sum over 30 days would charge them 30 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

BYTES_PER_GB = 1024**3


class Metric(StrEnum):
    """A metric that can be charged."""

    ACTIVE_USERS = "active_users"
    STORAGE_GB = "storage_gb"
    API_CALLS = "api_calls"
    REPORTS_GENERATED = "reports_generated"


# The factor between a stored figure and the metric's unit.
_COUNTED_PER_UNIT = {Metric.STORAGE_GB: BYTES_PER_GB}


class Aggregation(StrEnum):
    """How the figures of a period's days are combined."""

    SUM = "sum"
    MAX = "max"
    AVERAGE = "average"
    LATEST = "latest"

    @property
    def is_level(self) -> bool:
        """True if the result is monthly, regardless of the number of days."""
        return self is not Aggregation.SUM


# Quantities are rounded up to this step unless the charge has its own.
DEFAULT_STEP = {
    Metric.ACTIVE_USERS: Decimal("0.01"),
    Metric.STORAGE_GB: Decimal("0.1"),
    Metric.API_CALLS: Decimal(1),
    Metric.REPORTS_GENERATED: Decimal(1),
}


class UsageDay(BaseModel):
    """One closed day of a tenant (``batch.usage_day``). ``revision`` increases when the day is closed again with other figures.

    A figure is None if the host has no record of it. None is not 0.
    """

    model_config = ConfigDict(frozen=True)

    usage_date: date
    active_users: int
    storage_bytes: int | None
    api_calls: int | None
    reports_generated: int | None
    revision: int

    def count(self, metric: Metric) -> int | None:
        """The day's figure as it is stored, storage in bytes; None without a record."""
        match metric:
            case Metric.ACTIVE_USERS:
                return self.active_users
            case Metric.STORAGE_GB:
                return self.storage_bytes
            case Metric.API_CALLS:
                return self.api_calls
            case Metric.REPORTS_GENERATED:
                return self.reports_generated

    def figure(self, metric: Metric) -> Fraction | None:
        """The day's exact figure, storage in GB of 1,073,741,824 bytes; None without a record."""
        count = self.count(metric)
        return None if count is None else Fraction(count, _COUNTED_PER_UNIT.get(metric, 1))


def quantity_of(
    days: Sequence[UsageDay], metric: Metric, aggregation: Aggregation, *, step: Decimal
) -> Decimal:
    """The combined figure of the closed days (in order) that have a record, rounded up to the step; 0 if there are none."""
    counts = [count for day in days if (count := day.count(metric)) is not None]
    if not counts:
        return Decimal(0)
    per_unit = _COUNTED_PER_UNIT.get(metric, 1)
    match aggregation:
        case Aggregation.SUM:
            exact = Fraction(sum(counts), per_unit)
        case Aggregation.MAX:
            exact = Fraction(max(counts), per_unit)
        case Aggregation.AVERAGE:
            exact = Fraction(sum(counts), per_unit * len(counts))
        case Aggregation.LATEST:
            exact = Fraction(counts[-1], per_unit)
    return round_up(exact, step)


def round_up(exact: Fraction, step: Decimal) -> Decimal:
    """The smallest multiple of the step that is at least the value."""
    steps = -(-exact // Fraction(step))
    return (Decimal(int(steps)) * step).quantize(step, ROUND_CEILING)
