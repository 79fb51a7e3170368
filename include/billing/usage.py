"""The quantity that a charge prices, from the closed days of a period. Pure; days are Asia/Tokyo dates.

``sum`` is for events (API calls, reports). ``max``, ``average`` and ``latest`` are for levels (users, storage), which are priced per
month: a sum over 30 days would charge them thirtyfold.
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

    @property
    def unit(self) -> str:
        """The unit on an invoice."""
        return {"active_users": "人", "storage_gb": "GB", "api_calls": "回", "reports_generated": "件"}[self]

    @property
    def label(self) -> str:
        """The name on an invoice."""
        return {
            "active_users": "利用者数",
            "storage_gb": "ストレージ",
            "api_calls": "API 呼び出し",
            "reports_generated": "帳票作成",
        }[self]


class Aggregation(StrEnum):
    """How the figures of a period's days are combined."""

    SUM = "sum"
    MAX = "max"
    AVERAGE = "average"
    LATEST = "latest"

    @property
    def is_level(self) -> bool:
        """Whether the result is for a whole month, independent of the number of days."""
        return self is not Aggregation.SUM

    @property
    def label(self) -> str:
        """The name in an explanation."""
        return {"sum": "合計", "max": "最大", "average": "平均", "latest": "末日"}[self]


# Quantities are rounded up to this step unless the charge has its own.
DEFAULT_STEP = {
    Metric.ACTIVE_USERS: Decimal("0.01"),
    Metric.STORAGE_GB: Decimal("0.1"),
    Metric.API_CALLS: Decimal(1),
    Metric.REPORTS_GENERATED: Decimal(1),
}


class UsageDay(BaseModel):
    """One closed day of a tenant (``batch.usage_day``). ``revision`` increases when the day is closed again with other figures.

    A figure is None if the host has no record of it. That is not 0.
    """

    model_config = ConfigDict(frozen=True)

    usage_date: date
    active_users: int
    storage_bytes: int | None
    api_calls: int | None
    reports_generated: int | None
    revision: int

    def figure(self, metric: Metric) -> Fraction | None:
        """The day's exact figure, storage in GB of 1,073,741,824 bytes; None without a record."""
        match metric:
            case Metric.ACTIVE_USERS:
                figure: int | None = self.active_users
            case Metric.STORAGE_GB:
                figure = self.storage_bytes
            case Metric.API_CALLS:
                figure = self.api_calls
            case Metric.REPORTS_GENERATED:
                figure = self.reports_generated
        if figure is None:
            return None
        return Fraction(figure, BYTES_PER_GB if metric is Metric.STORAGE_GB else 1)


def quantity_of(
    days: Sequence[UsageDay], metric: Metric, aggregation: Aggregation, *, step: Decimal
) -> Decimal:
    """The combined figure of the closed days (in order) that have a record, rounded up to the step; 0 if there are none."""
    figures = [figure for day in days if (figure := day.figure(metric)) is not None]
    if not figures:
        return Decimal(0)
    match aggregation:
        case Aggregation.SUM:
            exact = sum(figures, Fraction(0))
        case Aggregation.MAX:
            exact = max(figures)
        case Aggregation.AVERAGE:
            exact = sum(figures, Fraction(0)) / len(figures)
        case Aggregation.LATEST:
            exact = figures[-1]
    return round_up(exact, step)


def round_up(exact: Fraction, step: Decimal) -> Decimal:
    """The smallest multiple of the step that is at least the value."""
    steps = -(-exact // Fraction(step))
    return (Decimal(int(steps)) * step).quantize(step, ROUND_CEILING)
