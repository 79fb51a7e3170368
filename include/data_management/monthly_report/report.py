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

from include.small_groups import SMALLEST_GROUP

DayRow = Mapping[str, Any]

FiscalKind = Literal["total", "mean", "most", "rate"]


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


class Hidden(StrEnum):
    """Why a figure is not shown although there is one: it would tell about single people."""

    FEW_PEOPLE = "few_people"


# A figure as it is shown; None: there is none.
Shown = Decimal | Hidden | None


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figure(_Value):
    """A figure of the month beside the month before and the fiscal year, each rounded once, to the unit.

    Difference and growth are of what is shown, so that a reader can check them.
    ``fiscal_kind``: whether the fiscal year's value is a total, a mean (of month ends, or of days), the highest day, or a rate of totals.
    ``is_comparable``: False for the totals of two months that, because days are missing, have data of different numbers of days.
    """

    key: str
    unit: Unit
    fiscal_unit: Unit
    fiscal_kind: FiscalKind
    rise_is: Literal["good", "bad", "neutral"]
    is_comparable: bool
    current: Shown
    previous: Shown
    fiscal: Shown

    @property
    def difference(self) -> Decimal | None:
        """Against the month before, in the figure's unit (percentage points, for percent)."""
        if isinstance(self.current, Decimal) and isinstance(self.previous, Decimal):
            return self.current - self.previous
        return None

    @property
    def growth_percent(self) -> Decimal | None:
        """Against the month before, one decimal. From 0 there is none, and between rates the difference says it."""
        if self.unit in (Unit.PERCENT, Unit.LEVEL) or not self.is_comparable or self.difference is None:
            return None
        assert isinstance(self.previous, Decimal)
        return _rounded(self.difference * 100 / self.previous, 1) if self.previous else None


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
    users_total: Shown = None
    users_active: Shown = None
    logins: Shown = None
    api_calls: Shown = None
    error_rate: Shown = None
    mean_level: Shown = None
    coverage_rate: Shown = None
    goal_rate: Shown = None

    @property
    def has_hidden(self) -> bool:
        """Whether a figure is hidden, as it is of too few people."""
        return any(isinstance(value, Hidden) for value in (self.mean_level, self.coverage_rate))


class SkillGroup(_Value):
    """A category's or department's skills that have a level, and their people; without a name they have none.

    ``is_rest`` joins those that are too small.
    """

    name: str | None
    is_rest: bool
    people: int
    records: int
    mean_level: Decimal
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
    previous_missing_days: tuple[date, ...]
    months: tuple[Month, ...]
    categories: tuple[SkillGroup, ...]
    departments: tuple[SkillGroup, ...]
    goals: tuple[tuple[str, int | None], ...]

    @property
    def missing_days(self) -> tuple[date, ...]:
        return tuple(day.date for day in self.days if day.is_missing)

    @property
    def has_previous(self) -> bool:
        """Whether the month before has any day with data."""
        return len(self.previous_missing_days) < last_day_of(previous_month(self.month)).day

    @property
    def earlier_gaps(self) -> tuple[tuple[date, int], ...]:
        """The fiscal year's months before the previous one of which days are missing, and how many.

        Days before the first one that has data were none of the tenant's.
        """
        began = self.fiscal_data_from
        if began is None:
            return ()
        gaps = (
            (each.month, (last_day_of(each.month) - max(each.month, began)).days + 1 - each.days)
            for each in self.months
            if each.month < previous_month(self.month)
        )
        return tuple((month, missing) for month, missing in gaps if missing > 0)

    @property
    def is_empty(self) -> bool:
        """Whether the tenant has nobody: no employee, no account."""
        return not any(self.figure(key).current for key in ("employees", "users_total"))

    def figure(self, key: str) -> Figure:
        return next(figure for figure in self.figures if figure.key == key)


@dataclass(frozen=True)
class _Rule:
    """How a figure comes of days in their order; ``people`` is the column that counts those behind it, where it tells how good they are."""

    key: str
    unit: Unit
    value: Callable[[Sequence[DayRow]], Decimal | None]
    is_state: bool = False
    rise_is: Literal["good", "bad", "neutral"] = "neutral"
    fiscal_kind: FiscalKind = "total"
    people: str | None = None

    def shown(self, days: Sequence[DayRow]) -> Shown:
        """The value, not rounded; hidden if it is of too few people."""
        value = self.value(days)
        if value is not None and self.people and days[-1][self.people] < SMALLEST_GROUP:
            return Hidden.FEW_PEOPLE
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

# In the order in which they are shown.
_RULES = (
    _Rule("users_total", Unit.COUNT, _last_of("users_total"), is_state=True, rise_is="good"),
    _Rule("users_active", Unit.MEAN, _mean_of("users_active"), rise_is="good", fiscal_kind="mean"),
    _Rule("users_active_most", Unit.COUNT, _most_of("users_active"), rise_is="good", fiscal_kind="most"),
    _Rule("users_new", Unit.COUNT, _sum_of("users_new"), rise_is="good"),
    _Rule("logins", Unit.COUNT, _sum_of("logins"), rise_is="good"),
    _Rule("api_calls", Unit.COUNT, _sum_of("api_calls")),
    _Rule("api_errors", Unit.COUNT, _sum_of("api_errors"), rise_is="bad"),
    _Rule("error_rate", Unit.PERCENT, _rate("api_errors", "api_calls"), rise_is="bad", fiscal_kind="rate"),
    _Rule("reports_generated", Unit.COUNT, _sum_of("reports_generated")),
    _Rule("notifications_sent", Unit.COUNT, _sum_of("notifications_sent")),
    _Rule("skill_assessments", Unit.COUNT, _sum_of("skill_assessments")),
    _Rule("storage", Unit.MEGABYTES, _last_of("storage_bytes", 1024 * 1024), is_state=True),
    _Rule("employees", Unit.COUNT, _last_of("employees"), is_state=True),
    _Rule("skill_records", Unit.COUNT, _last_of("skill_records"), is_state=True, rise_is="good"),
    _Rule(
        "mean_level",
        Unit.LEVEL,
        _last_share("level_sum", ["rated_records"], times=1),
        is_state=True,
        rise_is="good",
        people="rated_people",
    ),
    _Rule(
        "coverage_rate",
        Unit.PERCENT,
        _last_share("coverage_met", ["coverage_target"]),
        is_state=True,
        rise_is="good",
        people="required_people",
    ),
    _Rule("goal_rate", Unit.PERCENT, _last_share("goals_completed", _GOALS), is_state=True, rise_is="good"),
    _Rule("certificates_held", Unit.COUNT, _last_of("certificates_held"), is_state=True, rise_is="good"),
    _Rule(
        "certificates_expiring", Unit.COUNT, _last_of("certificates_expiring"), is_state=True, rise_is="bad"
    ),
    _Rule("certificates_expired", Unit.COUNT, _last_of("certificates_expired"), is_state=True, rise_is="bad"),
    _Rule("trainings_completed", Unit.COUNT, _last_of("trainings_completed"), is_state=True, rise_is="good"),
    _Rule("training_hours", Unit.HOURS, _last_of("training_hours"), is_state=True, rise_is="good"),
)

# The figures of which ``Month`` has each month's, in its order.
MONTH_UNITS = {name: rule.unit for name in Month.model_fields for rule in _RULES if rule.key == name}


def first_needed_day(month: date, fiscal_start_month: int) -> date:
    """From which day on a report of the month (its first day) needs the daily rows."""
    return min(fiscal_start(month, fiscal_start_month), previous_month(month))


def fiscal_start(month: date, start_month: int) -> date:
    """The first day of the fiscal year that a month belongs to."""
    return date(month.year if month.month >= start_month else month.year - 1, start_month, 1)


def previous_month(month: date) -> date:
    """The first day of the month before."""
    return (month - timedelta(days=1)).replace(day=1)


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
    before = previous_month(month)
    previous = _within(rows, before, last_day_of(before))
    fiscal = _within(rows, start, last_day)
    current = of_month[month]
    missing_before = _missing_days(previous, before)
    is_whole = not missing_before and not _missing_days(current, month)
    are_comparable = is_whole or len(current) == len(previous)
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
        figures=tuple(
            _figure(rule, current, previous, fiscal, list(of_month.values()), are_comparable)
            for rule in _RULES
        ),
        days=tuple(
            _day(month.replace(day=number), by_date.get(month.replace(day=number)))
            for number in range(1, last_day.day + 1)
        ),
        previous_missing_days=missing_before,
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
    are_comparable: bool,
) -> Figure:
    fiscal_unit = rule.unit
    if rule.is_state:
        fiscal_value = _mean_of_ends([rule.shown(days) for days in months])
        fiscal_unit = Unit.MEAN if rule.unit is Unit.COUNT else rule.unit
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
        current=_in_unit(rule.shown(current), rule.unit),
        previous=_in_unit(rule.shown(previous), rule.unit),
        fiscal=_in_unit(fiscal_value, fiscal_unit),
    )


def _mean_of_ends(ends: Sequence[Shown]) -> Shown:
    """Of the months that show one: a hidden one could be worked out of a mean that it is part of."""
    values = [end for end in ends if isinstance(end, Decimal)]
    if values:
        return sum(values, Decimal(0)) / len(values)
    return next((end for end in ends if end is not None), None)


def _day(day: date, row: DayRow | None) -> Day:
    if row is None:
        return Day(date=day, is_missing=True)
    counts = {name: row[name] for name in Day.model_fields.keys() & row.keys()}
    rate = row["api_error_rate"]
    error_rate = None if rate is None else _rounded(rate, Unit.PERCENT.decimals)
    return Day(date=day, is_missing=False, error_rate=error_rate, **counts)


def _month(month: date, days: Sequence[DayRow]) -> Month:
    values = {
        rule.key: _in_unit(rule.shown(days), rule.unit) for rule in _RULES if rule.key in Month.model_fields
    }
    return Month(month=month, days=len(days), **values)


def _missing_days(rows: Sequence[DayRow], month: date) -> tuple[date, ...]:
    there = {row["statistics_date"] for row in rows}
    every = (month + timedelta(days=number) for number in range(last_day_of(month).day))
    return tuple(day for day in every if day not in there)


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
            mean_level=_rounded(Decimal(row["level_sum"]) / row["records"], Unit.LEVEL.decimals),
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


def _in_unit(value: Shown, unit: Unit) -> Shown:
    return _rounded(value, unit.decimals) if isinstance(value, Decimal) else value


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
