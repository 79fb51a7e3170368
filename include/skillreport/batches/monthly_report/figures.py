"""The figures of a monthly report: units, rounding, and the rule that calculates each figure from rows of ``batch.statistics_day``.

Pure. The rows are ordered by day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from include.skillreport.core.small_groups import SMALLEST_GROUP

DayRow = Mapping[str, Any]

FiscalKind = Literal["total", "mean", "most", "rate"]


class FigureUnit(StrEnum):
    """The unit of a figure. LEVEL is 1 to 5; MEGABYTES have 1,048,576 bytes."""

    COUNT = "count"
    MEAN = "mean"
    LEVEL = "level"
    PERCENT = "percent"
    HOURS = "hours"
    MEGABYTES = "megabytes"

    @property
    def decimals(self) -> int:
        return {"count": 0, "level": 2}.get(self, 1)


class NotShown(StrEnum):
    """Why a figure is not shown: it would reveal data of single people, or the host has no record of it."""

    FEW_PEOPLE = "few_people"
    NO_RECORD = "no_record"


# A rounded figure; None: no day has data, or the divisor of a rate is 0.
Shown = Decimal | NotShown | None


class ReportValue(BaseModel):
    """Base of the values of a report."""

    model_config = ConfigDict(frozen=True)


class Figure(ReportValue):
    """A figure of the month, the previous month and the fiscal year, each rounded once to the unit.

    Difference and growth are calculated from the rounded values, so that a reader can check them. ``fiscal_kind``: the fiscal year's value
    is a total, a mean (of month ends, or of days), the highest day, or a rate of totals. ``is_comparable`` is False for the totals of
    months with different numbers of recorded days, if days are missing or have no record of the figure. ``unrecorded_days`` counts the
    month's days that have data but no record of the figure, ``earlier_unrecorded_days`` such earlier days of the previous month and the
    fiscal year.
    """

    key: str
    unit: FigureUnit
    fiscal_unit: FigureUnit
    fiscal_kind: FiscalKind
    rise_is: Literal["good", "bad", "neutral"]
    is_comparable: bool
    current: Shown
    previous: Shown
    fiscal: Shown
    unrecorded_days: int = 0
    earlier_unrecorded_days: int = 0

    @property
    def difference(self) -> Decimal | None:
        """The difference to the previous month, in the figure's unit (percentage points for percent)."""
        if isinstance(self.current, Decimal) and isinstance(self.previous, Decimal):
            return self.current - self.previous
        return None

    @property
    def growth_percent(self) -> Decimal | None:
        """The growth since the previous month, one decimal.

        None for rates and levels, if the months are not comparable, or if the previous value is 0.
        """
        if (
            self.unit in (FigureUnit.PERCENT, FigureUnit.LEVEL)
            or not self.is_comparable
            or self.difference is None
        ):
            return None
        assert isinstance(self.previous, Decimal)
        return rounded(self.difference * 100 / self.previous, 1) if self.previous else None


@dataclass(frozen=True)
class FigureRule:
    """The calculation of a figure from days. ``is_state``: it is the state at the end of the last day.

    ``people`` is the column with the number of rated people, if the figure rates people. ``record`` is the column that is null on days
    without a record of the figure. Such days are omitted.
    """

    key: str
    unit: FigureUnit
    value: Callable[[Sequence[DayRow]], Decimal | None]
    is_state: bool = False
    rise_is: Literal["good", "bad", "neutral"] = "neutral"
    fiscal_kind: FiscalKind = "total"
    people: str | None = None
    record: str | None = None

    def recorded(self, days: Sequence[DayRow]) -> Sequence[DayRow]:
        return [day for day in days if day[self.record] is not None] if self.record else days

    def shown(self, days: Sequence[DayRow]) -> Shown:
        """The unrounded value; hidden if no day has a record of it, or if it rates too few people."""
        recorded = self.recorded(days)
        if days and not recorded:
            return NotShown.NO_RECORD
        value = self.value(recorded)
        if value is not None and self.people and days[-1][self.people] < SMALLEST_GROUP:
            return NotShown.FEW_PEOPLE
        return value


def _sum_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: sum((Decimal(day[column]) for day in days), Decimal(0)) if days else None


def _mean_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: sum((Decimal(day[column]) for day in days), Decimal(0)) / len(days) if days else None


def _most_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: Decimal(max(day[column] for day in days)) if days else None


def _last_of(column: str, divisor: int = 1) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: Decimal(days[-1][column]) / divisor if days else None


def _rate(parts: str, wholes: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    """The sum of one column in percent of the sum of another."""

    def rate(days: Sequence[DayRow]) -> Decimal | None:
        whole = sum(day[wholes] for day in days)
        return Decimal(sum(day[parts] for day in days)) * 100 / Decimal(whole) if whole else None

    return rate


def _last_share(
    parts: str, wholes: Sequence[str], times: int = 100
) -> Callable[[Sequence[DayRow]], Decimal | None]:
    """The share of a part at the end of the last day; None if the whole is 0."""

    def share(days: Sequence[DayRow]) -> Decimal | None:
        whole = sum(days[-1][column] for column in wholes) if days else 0
        return Decimal(days[-1][parts]) * times / Decimal(whole) if whole else None

    return share


GOALS = ("goals_completed", "goals_in_progress", "goals_not_started", "goals_other")

# In the order of the report.
RULES = (
    FigureRule("users_total", FigureUnit.COUNT, _last_of("users_total"), is_state=True, rise_is="good"),
    FigureRule("users_active", FigureUnit.MEAN, _mean_of("users_active"), rise_is="good", fiscal_kind="mean"),
    FigureRule(
        "users_active_most", FigureUnit.COUNT, _most_of("users_active"), rise_is="good", fiscal_kind="most"
    ),
    FigureRule("users_new", FigureUnit.COUNT, _sum_of("users_new"), rise_is="good"),
    FigureRule("logins", FigureUnit.COUNT, _sum_of("logins"), rise_is="good"),
    FigureRule("api_calls", FigureUnit.COUNT, _sum_of("api_calls"), record="api_calls"),
    FigureRule("api_errors", FigureUnit.COUNT, _sum_of("api_errors"), rise_is="bad", record="api_errors"),
    FigureRule(
        "error_rate",
        FigureUnit.PERCENT,
        _rate("api_errors", "api_calls"),
        rise_is="bad",
        fiscal_kind="rate",
        record="api_calls",
    ),
    FigureRule(
        "reports_generated", FigureUnit.COUNT, _sum_of("reports_generated"), record="reports_generated"
    ),
    FigureRule(
        "notifications_sent", FigureUnit.COUNT, _sum_of("notifications_sent"), record="notifications_sent"
    ),
    FigureRule(
        "skill_assessments", FigureUnit.COUNT, _sum_of("skill_assessments"), record="skill_assessments"
    ),
    FigureRule(
        "storage",
        FigureUnit.MEGABYTES,
        _last_of("storage_bytes", 1024 * 1024),
        is_state=True,
        record="storage_bytes",
    ),
    FigureRule("employees", FigureUnit.COUNT, _last_of("employees"), is_state=True),
    FigureRule("skill_records", FigureUnit.COUNT, _last_of("skill_records"), is_state=True, rise_is="good"),
    FigureRule(
        "mean_level",
        FigureUnit.LEVEL,
        _last_share("level_sum", ["rated_records"], times=1),
        is_state=True,
        rise_is="good",
        people="rated_people",
    ),
    FigureRule(
        "coverage_rate",
        FigureUnit.PERCENT,
        _last_share("coverage_met", ["coverage_target"]),
        is_state=True,
        rise_is="good",
        people="required_people",
    ),
    FigureRule(
        "goal_rate", FigureUnit.PERCENT, _last_share("goals_completed", GOALS), is_state=True, rise_is="good"
    ),
    FigureRule(
        "certificates_held", FigureUnit.COUNT, _last_of("certificates_held"), is_state=True, rise_is="good"
    ),
    FigureRule(
        "certificates_expiring",
        FigureUnit.COUNT,
        _last_of("certificates_expiring"),
        is_state=True,
        rise_is="bad",
    ),
    FigureRule(
        "certificates_expired",
        FigureUnit.COUNT,
        _last_of("certificates_expired"),
        is_state=True,
        rise_is="bad",
    ),
    FigureRule(
        "trainings_completed",
        FigureUnit.COUNT,
        _last_of("trainings_completed"),
        is_state=True,
        rise_is="good",
    ),
    FigureRule("training_hours", FigureUnit.HOURS, _last_of("training_hours"), is_state=True, rise_is="good"),
)


def make_figure(
    rule: FigureRule,
    current: Sequence[DayRow],
    previous: Sequence[DayRow],
    fiscal: Sequence[DayRow],
    months: Sequence[Sequence[DayRow]],
    earlier: Sequence[DayRow],
    are_whole: bool,
) -> Figure:
    """``earlier`` are the report's days before the month. ``are_whole``: no day of the two months is missing."""
    unrecorded, unrecorded_before, unrecorded_earlier = (
        len(days) - len(rule.recorded(days)) for days in (current, previous, earlier)
    )
    are_comparable = (are_whole and not unrecorded and not unrecorded_before) or (
        len(current) - unrecorded == len(previous) - unrecorded_before
    )
    fiscal_unit = rule.unit
    if rule.is_state:
        fiscal_value = _mean_of_ends([rule.shown(days) for days in months])
        fiscal_unit = FigureUnit.MEAN if rule.unit is FigureUnit.COUNT else rule.unit
    else:
        fiscal_value = rule.shown(fiscal)
    is_total = not rule.is_state and rule.fiscal_kind == "total"
    return Figure(
        key=rule.key,
        unit=rule.unit,
        fiscal_unit=fiscal_unit,
        fiscal_kind="mean" if rule.is_state else rule.fiscal_kind,
        rise_is=rule.rise_is,
        is_comparable=are_comparable or not is_total,
        current=in_unit(rule.shown(current), rule.unit),
        previous=in_unit(rule.shown(previous), rule.unit),
        fiscal=in_unit(fiscal_value, fiscal_unit),
        unrecorded_days=unrecorded,
        earlier_unrecorded_days=unrecorded_earlier,
    )


def _mean_of_ends(ends: Sequence[Shown]) -> Shown:
    """The mean of the shown month ends. A mean with a hidden value would reveal it."""
    values = [end for end in ends if isinstance(end, Decimal)]
    if values:
        return sum(values, Decimal(0)) / len(values)
    return next((end for end in ends if end is not None), None)


def in_unit(value: Shown, unit: FigureUnit) -> Shown:
    return rounded(value, unit.decimals) if isinstance(value, Decimal) else value


def rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
