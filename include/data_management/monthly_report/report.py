"""What a monthly report says, worked out once: workbook, PDF and letter show these figures and calculate nothing.

Pure: rows of ``batch.statistics_day`` and ``batch.statistics_group`` in, one value out, which survives JSON unchanged.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

DayRow = Mapping[str, Any]


class Unit(StrEnum):
    """How a figure is shown: a count, a mean count, a level of 1 to 5, percent, hours, or megabytes of 1,048,576 bytes."""

    COUNT = "count"
    MEAN = "mean"
    LEVEL = "level"
    PERCENT = "percent"
    HOURS = "hours"
    MEGABYTES = "megabytes"

    @property
    def decimals(self) -> int:
        return {"count": 0, "level": 2}.get(self, 1)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figure(_Value):
    """A figure of the month beside the month before and the fiscal year, each rounded to the unit; None: there is none.

    ``fiscal_kind``: whether the fiscal year's value is a total, a mean (of month ends, or of days) or the highest day.
    """

    key: str
    unit: Unit
    fiscal_unit: Unit
    fiscal_kind: Literal["total", "mean", "most"]
    rise_is: Literal["good", "bad", "neutral"]
    current: Decimal | None
    previous: Decimal | None
    fiscal: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """Against the month before, in the figure's unit (percentage points, for percent)."""
        if self.current is None or self.previous is None:
            return None
        return self.current - self.previous

    @property
    def growth_percent(self) -> Decimal | None:
        """Against the month before, one decimal. From 0 there is none, and between rates the difference says it."""
        if self.difference is None or not self.previous or self.unit in (Unit.PERCENT, Unit.LEVEL):
            return None
        return _rounded(self.difference * 100 / self.previous, 1)


class Day(_Value):
    """A day of the month; without figures it is missing."""

    date: date
    is_missing: bool
    users_total: int | None = None
    users_active: int | None = None
    users_new: int | None = None
    logins: int | None = None
    api_calls: int | None = None
    api_errors: int | None = None
    error_rate: Decimal | None = None
    reports_generated: int | None = None
    skill_assessments: int | None = None
    notifications_sent: int | None = None


class Month(_Value):
    """A month of the fiscal year, up to the reported one; a month without a single day has no figures."""

    month: date
    days: int
    users_total: Decimal | None = None
    users_active: Decimal | None = None
    logins: Decimal | None = None
    api_calls: Decimal | None = None
    error_rate: Decimal | None = None
    mean_level: Decimal | None = None
    coverage_rate: Decimal | None = None
    goal_rate: Decimal | None = None


class SkillGroup(_Value):
    """A category or department; without a name the records have none, and ``is_rest`` joins those that are too small."""

    name: str | None
    is_rest: bool
    people: int
    records: int
    mean_level: Decimal | None
    levels: tuple[int, int, int, int, int]


class MonthlyReport(_Value):
    """All that a tenant's report says but for the list of its people. Days are Asia/Tokyo."""

    tenant_code: str
    tenant_name: str
    month: date
    language: Literal["ja", "en"]
    colour: str
    fiscal_year: int
    fiscal_start: date
    fiscal_data_from: date | None
    figures: tuple[Figure, ...]
    days: tuple[Day, ...]
    months: tuple[Month, ...]
    categories: tuple[SkillGroup, ...]
    departments: tuple[SkillGroup, ...]
    goals: tuple[tuple[str, int | None], ...]

    @property
    def missing_days(self) -> tuple[date, ...]:
        return tuple(day.date for day in self.days if day.is_missing)

    @property
    def is_empty(self) -> bool:
        """Whether the tenant has nobody: no employee, no account."""
        return not any(self.figure(key).current for key in ("employees", "users_total"))

    def figure(self, key: str) -> Figure:
        return next(figure for figure in self.figures if figure.key == key)


@dataclass(frozen=True)
class _Rule:
    """How a figure comes of days in their order."""

    key: str
    unit: Unit
    value: Callable[[Sequence[DayRow]], Decimal | None]
    is_state: bool = False
    rise_is: Literal["good", "bad", "neutral"] = "neutral"
    fiscal_kind: Literal["total", "mean", "most"] = "total"


def _sum_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: sum((Decimal(day[column]) for day in days), Decimal(0)) if days else None


def _mean_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: sum((Decimal(day[column]) for day in days), Decimal(0)) / len(days) if days else None


def _most_of(column: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: Decimal(max(day[column] for day in days)) if days else None


def _last_of(column: str, divisor: int = 1) -> Callable[[Sequence[DayRow]], Decimal | None]:
    return lambda days: Decimal(days[-1][column]) / divisor if days else None


def _rate(parts: str, wholes: str) -> Callable[[Sequence[DayRow]], Decimal | None]:
    """Percent, of the sums over all days."""

    def rate(days: Sequence[DayRow]) -> Decimal | None:
        whole = sum(day[wholes] for day in days)
        return Decimal(sum(day[parts] for day in days)) * 100 / Decimal(whole) if whole else None

    return rate


def _last_share(
    parts: str, wholes: Sequence[str], times: int = 100
) -> Callable[[Sequence[DayRow]], Decimal | None]:
    """A part of a whole at the end of the last day; of nothing there is none."""

    def share(days: Sequence[DayRow]) -> Decimal | None:
        whole = sum(days[-1][column] for column in wholes) if days else 0
        return Decimal(days[-1][parts]) * times / Decimal(whole) if whole else None

    return share


_GOALS = ("goals_completed", "goals_in_progress", "goals_not_started", "goals_other")

_GOAL_RATE = _last_share("goals_completed", _GOALS)
_COVERAGE = _last_share("coverage_met", ["coverage_target"])
_MEAN_LEVEL = _last_share("level_sum", ["rated_records"], times=1)

# In the order in which they are shown.
_RULES = (
    _Rule("users_total", Unit.COUNT, _last_of("users_total"), is_state=True, rise_is="good"),
    _Rule("users_active", Unit.MEAN, _mean_of("users_active"), rise_is="good", fiscal_kind="mean"),
    _Rule("users_active_most", Unit.COUNT, _most_of("users_active"), rise_is="good", fiscal_kind="most"),
    _Rule("users_new", Unit.COUNT, _sum_of("users_new"), rise_is="good"),
    _Rule("logins", Unit.COUNT, _sum_of("logins"), rise_is="good"),
    _Rule("api_calls", Unit.COUNT, _sum_of("api_calls")),
    _Rule("api_errors", Unit.COUNT, _sum_of("api_errors"), rise_is="bad"),
    _Rule("error_rate", Unit.PERCENT, _rate("api_errors", "api_calls"), rise_is="bad", fiscal_kind="mean"),
    _Rule("reports_generated", Unit.COUNT, _sum_of("reports_generated")),
    _Rule("notifications_sent", Unit.COUNT, _sum_of("notifications_sent")),
    _Rule("skill_assessments", Unit.COUNT, _sum_of("skill_assessments")),
    _Rule("storage", Unit.MEGABYTES, _last_of("storage_bytes", 1024 * 1024), is_state=True),
    _Rule("employees", Unit.COUNT, _last_of("employees"), is_state=True),
    _Rule("skill_records", Unit.COUNT, _last_of("skill_records"), is_state=True, rise_is="good"),
    _Rule("mean_level", Unit.LEVEL, _MEAN_LEVEL, is_state=True, rise_is="good"),
    _Rule("coverage_rate", Unit.PERCENT, _COVERAGE, is_state=True, rise_is="good"),
    _Rule("goal_rate", Unit.PERCENT, _GOAL_RATE, is_state=True, rise_is="good"),
    _Rule("certificates_held", Unit.COUNT, _last_of("certificates_held"), is_state=True, rise_is="good"),
    _Rule(
        "certificates_expiring", Unit.COUNT, _last_of("certificates_expiring"), is_state=True, rise_is="bad"
    ),
    _Rule("certificates_expired", Unit.COUNT, _last_of("certificates_expired"), is_state=True, rise_is="bad"),
    _Rule("trainings_completed", Unit.COUNT, _last_of("trainings_completed"), is_state=True, rise_is="good"),
    _Rule("training_hours", Unit.HOURS, _last_of("training_hours"), is_state=True, rise_is="good"),
)


def first_needed_day(month: date, fiscal_start_month: int) -> date:
    """From which day on a report of the month (its first day) needs the daily rows."""
    return min(fiscal_start(month, fiscal_start_month), (month - timedelta(days=1)).replace(day=1))


def fiscal_start(month: date, start_month: int) -> date:
    """The first day of the fiscal year that a month belongs to."""
    return date(month.year if month.month >= start_month else month.year - 1, start_month, 1)


def last_day_of(month: date) -> date:
    return month.replace(day=monthrange(month.year, month.month)[1])


def make_report(
    days: Iterable[DayRow],
    groups: Iterable[Mapping[str, Any]],
    *,
    tenant_code: str,
    tenant_name: str,
    month: date,
    language: Literal["ja", "en"],
    colour: str,
    fiscal_start_month: int = 4,
) -> MonthlyReport:
    """The report of a month (its first day) from the tenant's days since ``first_needed_day`` and the groups of its last day."""
    start = fiscal_start(month, fiscal_start_month)
    last_day = last_day_of(month)
    by_date = {day["statistics_date"]: day for day in days if day["statistics_date"] <= last_day}
    rows = [by_date[day] for day in sorted(by_date)]
    months = _months_between(start, month)
    of_month = {each: _within(rows, each, last_day_of(each)) for each in months}
    before = (month - timedelta(days=1)).replace(day=1)
    previous = _within(rows, before, last_day_of(before))
    fiscal = _within(rows, start, last_day)
    current = of_month[month]
    skill_groups = list(groups)
    return MonthlyReport(
        tenant_code=tenant_code,
        tenant_name=tenant_name,
        month=month,
        language=language,
        colour=colour,
        fiscal_year=start.year,
        fiscal_start=start,
        fiscal_data_from=fiscal[0]["statistics_date"] if fiscal else None,
        figures=tuple(_figure(rule, current, previous, fiscal, list(of_month.values())) for rule in _RULES),
        days=tuple(
            _day(month.replace(day=number), by_date.get(month.replace(day=number)))
            for number in range(1, last_day.day + 1)
        ),
        months=tuple(_month(each, of_month[each]) for each in months),
        categories=_groups(skill_groups, "category"),
        departments=_groups(skill_groups, "department"),
        goals=tuple((column, current[-1][column] if current else None) for column in _GOALS),
    )


def _figure(
    rule: _Rule,
    current: Sequence[DayRow],
    previous: Sequence[DayRow],
    fiscal: Sequence[DayRow],
    months: Sequence[Sequence[DayRow]],
) -> Figure:
    fiscal_unit = rule.unit
    if rule.is_state:
        ends = [value for days in months if (value := rule.value(days)) is not None]
        fiscal_value = sum(ends, Decimal(0)) / len(ends) if ends else None
        fiscal_unit = Unit.MEAN if rule.unit is Unit.COUNT else rule.unit
    else:
        fiscal_value = rule.value(fiscal)
    return Figure(
        key=rule.key,
        unit=rule.unit,
        fiscal_unit=fiscal_unit,
        fiscal_kind="mean" if rule.is_state else rule.fiscal_kind,
        rise_is=rule.rise_is,
        current=_in_unit(rule.value(current), rule.unit),
        previous=_in_unit(rule.value(previous), rule.unit),
        fiscal=_in_unit(fiscal_value, fiscal_unit),
    )


def _day(day: date, row: DayRow | None) -> Day:
    if row is None:
        return Day(date=day, is_missing=True)
    counts = {name: row[name] for name in Day.model_fields.keys() & row.keys()}
    return Day(date=day, is_missing=False, error_rate=_in_unit(row["api_error_rate"], Unit.PERCENT), **counts)


def _month(month: date, days: Sequence[DayRow]) -> Month:
    values = {
        "users_total": (_last_of("users_total"), Unit.COUNT),
        "users_active": (_mean_of("users_active"), Unit.MEAN),
        "logins": (_sum_of("logins"), Unit.COUNT),
        "api_calls": (_sum_of("api_calls"), Unit.COUNT),
        "error_rate": (_rate("api_errors", "api_calls"), Unit.PERCENT),
        "mean_level": (_MEAN_LEVEL, Unit.LEVEL),
        "coverage_rate": (_COVERAGE, Unit.PERCENT),
        "goal_rate": (_GOAL_RATE, Unit.PERCENT),
    }
    return Month(
        month=month,
        days=len(days),
        **{name: _in_unit(value(days), unit) for name, (value, unit) in values.items()},
    )


def _groups(rows: Sequence[Mapping[str, Any]], dimension: str) -> tuple[SkillGroup, ...]:
    """The largest first; those without a name and the rest last."""
    chosen = [row for row in rows if row["dimension"] == dimension]
    chosen.sort(key=lambda row: (row["is_rest"], row["group_key"] == "", -row["people"], row["group_key"]))
    return tuple(
        SkillGroup(
            name=None if row["is_rest"] else row["group_name"] or row["group_key"] or None,
            is_rest=row["is_rest"],
            people=row["people"],
            records=row["records"],
            mean_level=_in_unit(row["mean_level"], Unit.LEVEL),
            levels=(row["level_1"], row["level_2"], row["level_3"], row["level_4"], row["level_5"]),
        )
        for row in chosen
    )


def _months_between(first: date, last: date) -> list[date]:
    months = [first]
    while months[-1] < last:
        months.append((months[-1] + timedelta(days=31)).replace(day=1))
    return months


def _within(rows: Sequence[DayRow], first: date, last: date) -> list[DayRow]:
    return [row for row in rows if first <= row["statistics_date"] <= last]


def _in_unit(value: Decimal | None, unit: Unit) -> Decimal | None:
    return None if value is None else _rounded(value, unit.decimals)


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
