"""The report's words, in Japanese and English, and how its values are written in PDF and letter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from include.data_management.monthly_report.report import (
    Figure,
    Hidden,
    MonthlyReport,
    Shown,
    SkillGroup,
    Unit,
)
from include.settings import load_yaml

_WORDS_FILE = Path(__file__).with_name("wording.yaml")

NONE = "—"

_JAPANESE_WEEKDAYS = "月火水木金土日"
_ENGLISH_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ENGLISH_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Missing days that are named; more of them are counted.
_NAMED_DAYS = 10


@cache
def words(language: str) -> dict[str, Any]:
    """All words of a language (``ja``, ``en``), by key."""
    every: dict[str, dict[str, Any]] = load_yaml(_WORDS_FILE.read_text(encoding="utf-8"))
    return every[language]


def value_text(value: Shown | int, unit: Unit, language: str) -> str:
    """``1,234``, ``12.3 %``: thousands separators and the unit's decimals; or why there is nothing to show."""
    if value is None:
        return NONE
    if isinstance(value, Hidden):
        return str(words(language)["hidden"][value])
    suffix = {Unit.PERCENT: " %", Unit.MEGABYTES: " MB", Unit.HOURS: " h"}.get(unit, "")
    return f"{value:,.{unit.decimals}f}{suffix}"


def difference_text(figure: Figure) -> str:
    """``+12``, ``−0.4 pt``, ``±0``: against the month before."""
    difference = figure.difference
    if difference is None:
        return NONE
    if not difference:
        return "±0"
    suffix = {Unit.PERCENT: " pt", Unit.MEGABYTES: " MB", Unit.HOURS: " h"}.get(figure.unit, "")
    return f"{'+' if difference > 0 else '−'}{abs(difference):,.{figure.unit.decimals}f}{suffix}"


def growth_text(figure: Figure) -> str:
    """``+12.3 %``; where there is no percentage, a dash."""
    growth = figure.growth_percent
    if growth is None:
        return NONE
    return "±0.0 %" if not growth else f"{'+' if growth > 0 else '−'}{abs(growth):,.1f} %"


def tone(figure: Figure) -> str:
    """Whether the change is ``good``, ``bad`` or ``neutral``; between totals of other numbers of days it is neither."""
    difference = figure.difference
    if not difference or not figure.is_comparable or figure.rise_is == "neutral":
        return "neutral"
    return "good" if (difference > 0) == (figure.rise_is == "good") else "bad"


def day_text(day: date, language: str) -> str:
    return (
        f"{day.month}/{day.day}（{_JAPANESE_WEEKDAYS[day.weekday()]}）"
        if language == "ja"
        else (f"{_ENGLISH_WEEKDAYS[day.weekday()]} {day.day} {_ENGLISH_MONTHS[day.month - 1]}")
    )


def month_text(month: date, language: str) -> str:
    return (
        f"{month.year}年{month.month}月"
        if language == "ja"
        else f"{_ENGLISH_MONTHS[month.month - 1]} {month.year}"
    )


def short_month(month: date, language: str) -> str:
    return f"{month.month}月" if language == "ja" else _ENGLISH_MONTHS[month.month - 1]


def group_name(group: SkillGroup, dimension: str, language: str) -> str:
    text = words(language)
    if group.is_rest:
        return str(text["rest"])
    return group.name or str(text[f"no_{dimension}"])


def title(report: MonthlyReport) -> str:
    return str(words(report.language)["title"])


def notices(report: MonthlyReport) -> list[str]:
    """What the front page has to say before any figure: nobody there, and days without data in any month that it tells of."""
    text, language = words(report.language), report.language
    said = []
    missing, missing_before = report.missing_days, report.previous_missing_days
    if len(missing) == len(report.days):
        said.append(str(text["all_missing"]))
    elif missing:
        said.append(text["missing"].format(count=len(missing), days=_listed_days(missing, language)))
    if report.is_empty and len(missing) < len(report.days):
        said.append(str(text["empty"]))
    if not report.has_previous:
        said.append(str(text["no_previous"]))
    elif missing_before:
        listed = _listed_days(missing_before, language)
        said.append(text["previous_missing"].format(count=len(missing_before), days=listed))
    began = report.fiscal_data_from
    if began and began > report.fiscal_start:
        said.append(text["fiscal_from"].format(day=began.isoformat()))
    if report.earlier_gaps:
        gaps = (
            text["month_gap"].format(month=short_month(month, language), count=count)
            for month, count in report.earlier_gaps
        )
        said.append(text["fiscal_gaps"].format(months=text["listed"].join(gaps)))
    return said


def _listed_days(days: Sequence[date], language: str) -> str:
    text = words(language)
    named = text["listed"].join(day_text(day, language) for day in days[:_NAMED_DAYS])
    more = len(days) - _NAMED_DAYS
    return str(named + text["more_days"].format(count=more) if more > 0 else named)
