"""The content of a monthly report. Workbook, PDF and e-mail show it and calculate nothing.

Pure: rows of ``batch.statistics_day`` and ``batch.statistics_group`` in, one value out. JSON stores the value without loss.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from include.skillreport.batches.monthly_report.figures import (
    GOALS,
    RULES,
    DayRow,
    Figure,
    FigureUnit,
    NotShown,
    ReportValue,
    Shown,
    in_unit,
    make_figure,
    rounded,
)


class DayFigures(ReportValue):
    """A day of the month. A missing day has no figures. A figure is None if the host has no record of it."""

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


class MonthFigures(ReportValue):
    """A month of the fiscal year, up to the reported month. ``days`` counts days with data; a month without any has no figures."""

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
        """True if a figure is hidden because it describes too few people."""
        return any(isinstance(value, NotShown) for value in (self.mean_level, self.coverage_rate))


class SkillGroup(ReportValue):
    """The rated skills of one category or department. ``name`` is None for skills without a category and people without a department.

    ``is_rest``: the group combines all small groups and has no name either.
    """

    name: str | None
    is_rest: bool
    people: int
    records: int
    mean_level: Decimal
    levels: tuple[int, int, int, int, int]


class MonthlyReport(ReportValue):
    """A tenant's report without the list of employees. Days are Asia/Tokyo.

    The figures do not contain host rows without a known person: ``unplaced_events`` of the month, and ``unplaced_accounts`` of its last day
    with data.
    """

    tenant_code: str
    tenant_name: str
    month: date
    language: Literal["ja", "en"]
    colour: str
    fiscal_year: int
    fiscal_start: date
    fiscal_data_from: date | None
    figures: tuple[Figure, ...]
    days: tuple[DayFigures, ...]
    previous_missing_days: tuple[date, ...]
    months: tuple[MonthFigures, ...]
    categories: tuple[SkillGroup, ...]
    departments: tuple[SkillGroup, ...]
    goals: tuple[tuple[str, int | None], ...]
    unplaced_events: int = 0
    unplaced_accounts: int = 0

    @property
    def missing_days(self) -> tuple[date, ...]:
        return tuple(day.date for day in self.days if day.is_missing)

    @property
    def has_previous(self) -> bool:
        """True if the previous month has a day with data."""
        return len(self.previous_missing_days) < last_day_of(previous_month(self.month)).day

    @property
    def earlier_gaps(self) -> tuple[tuple[date, int], ...]:
        """The fiscal year's months before the previous month that have missing days, with the number of these days.

        Days before the first day with data do not count.
        """
        first_day = self.fiscal_data_from
        if first_day is None:
            return ()
        gaps = (
            (each.month, (last_day_of(each.month) - max(each.month, first_day)).days + 1 - each.days)
            for each in self.months
            if each.month < previous_month(self.month)
        )
        return tuple((month, missing) for month, missing in gaps if missing > 0)

    @property
    def is_empty(self) -> bool:
        """True if the tenant has neither employees nor accounts."""
        return not any(self.figure(key).current for key in ("employees", "users_total"))

    def has_record(self, key: str) -> bool:
        """True if the host has a record of the figure in the month. False only if other figures have data."""
        return self.figure(key).current is not NotShown.NO_RECORD

    def figure(self, key: str) -> Figure:
        return next(figure for figure in self.figures if figure.key == key)


# The unit of each figure of ``MonthFigures``, in the order of its fields.
MONTH_UNITS = {name: rule.unit for name in MonthFigures.model_fields for rule in RULES if rule.key == name}


def first_needed_day(month: date, fiscal_start_month: int) -> date:
    """The first day of the rows for a report of this month (its first day)."""
    return min(fiscal_start(month, fiscal_start_month), previous_month(month))


def fiscal_start(month: date, start_month: int) -> date:
    """The first day of the month's fiscal year."""
    return date(month.year if month.month >= start_month else month.year - 1, start_month, 1)


def previous_month(month: date) -> date:
    """The first day of the previous month."""
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
    """The report of a month (its first day), from the tenant's rows since ``first_needed_day`` and the groups of the month's last day."""
    start = fiscal_start(month, fiscal_start_month)
    last_day = last_day_of(month)
    by_date = {day["statistics_date"]: day for day in days if day["statistics_date"] <= last_day}
    rows = [by_date[day] for day in sorted(by_date)]
    months = _months_between(start, month)
    days_of_month = {each: _within(rows, each, last_day_of(each)) for each in months}
    month_before = previous_month(month)
    previous = _within(rows, month_before, last_day_of(month_before))
    fiscal = _within(rows, start, last_day)
    current = days_of_month[month]
    missing_before = _missing_days(previous, month_before)
    are_whole = not missing_before and not _missing_days(current, month)
    earlier = _within(rows, first_needed_day(month, fiscal_start_month), last_day_of(month_before))
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
            make_figure(rule, current, previous, fiscal, list(days_of_month.values()), earlier, are_whole)
            for rule in RULES
        ),
        days=tuple(
            _day(month.replace(day=number), by_date.get(month.replace(day=number)))
            for number in range(1, last_day.day + 1)
        ),
        previous_missing_days=missing_before,
        months=tuple(_month(each, days_of_month[each]) for each in months),
        categories=_groups(skill_groups, "category"),
        departments=_groups(skill_groups, "department"),
        goals=tuple((column, current[-1][column] if current else None) for column in GOALS),
        unplaced_events=sum(day["unplaced_events"] for day in current),
        unplaced_accounts=current[-1]["unplaced_accounts"] if current else 0,
    )


def _day(day: date, row: DayRow | None) -> DayFigures:
    if row is None:
        return DayFigures(date=day, is_missing=True)
    counts = {name: row[name] for name in DayFigures.model_fields.keys() & row.keys()}
    rate = row["api_error_rate"]
    error_rate = None if rate is None else rounded(rate, FigureUnit.PERCENT.decimals)
    return DayFigures(date=day, is_missing=False, error_rate=error_rate, **counts)


def _month(month: date, days: Sequence[DayRow]) -> MonthFigures:
    values = {
        rule.key: in_unit(rule.shown(days), rule.unit)
        for rule in RULES
        if rule.key in MonthFigures.model_fields
    }
    return MonthFigures(month=month, days=len(days), **values)


def _missing_days(rows: Sequence[DayRow], month: date) -> tuple[date, ...]:
    with_data = {row["statistics_date"] for row in rows}
    days = (month + timedelta(days=number) for number in range(last_day_of(month).day))
    return tuple(day for day in days if day not in with_data)


def _groups(rows: Sequence[Mapping[str, Any]], dimension: str) -> tuple[SkillGroup, ...]:
    """The groups, largest first. The group without a name and the rest come last."""
    chosen = [row for row in rows if row["dimension"] == dimension]
    chosen.sort(key=lambda row: (row["is_rest"], row["group_key"] == "", -row["people"], row["group_key"]))
    return tuple(
        SkillGroup(
            name=None if row["is_rest"] else row["group_name"] or row["group_key"] or None,
            is_rest=row["is_rest"],
            people=row["people"],
            records=row["records"],
            mean_level=rounded(Decimal(row["level_sum"]) / row["records"], FigureUnit.LEVEL.decimals),
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
