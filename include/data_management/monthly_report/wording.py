"""The report's words, in Japanese and English, and how its values are written in PDF and letter."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from include.data_management.monthly_report.report import Figure, MonthlyReport, SkillGroup, Unit
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


def value_text(value: Decimal | None, unit: Unit) -> str:
    """``1,234``, ``12.3 %``: thousands separators and the unit's decimals."""
    if value is None:
        return NONE
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
    """Whether the change is ``good``, ``bad`` or ``neutral``."""
    difference = figure.difference
    if not difference or figure.rise_is == "neutral":
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
    """What the front page has to say before any figure: days that are missing, nobody there, a fiscal year that is not whole."""
    text, language = words(report.language), report.language
    said = []
    missing = report.missing_days
    if len(missing) == len(report.days):
        said.append(str(text["all_missing"]))
    elif missing:
        named = text["listed"].join(day_text(day, language) for day in missing[:_NAMED_DAYS])
        more = len(missing) - _NAMED_DAYS
        if more > 0:
            named += text["more_days"].format(count=more)
        said.append(text["missing"].format(count=len(missing), days=named))
    if report.is_empty and len(missing) < len(report.days):
        said.append(str(text["empty"]))
    began = report.fiscal_data_from
    if began and began > report.fiscal_start:
        said.append(text["fiscal_from"].format(day=began.isoformat()))
    return said
