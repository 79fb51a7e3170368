"""The texts of the report in Japanese and English, and the text form of its values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from include.skillreport.batches.monthly_report.figures import Figure, FigureUnit, NotShown, Shown
from include.skillreport.batches.monthly_report.report import MonthlyReport, SkillGroup
from include.skillreport.core.written_dates import day_in_words, month_in_words
from include.skillreport.core.yaml_files import load_yaml

_WORDS_FILE = Path(__file__).with_name("wording.yaml")

NONE = "—"

_ENGLISH_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# A notice lists this many missing days and counts the rest.
_NAMED_DAYS = 10


@cache
def words(language: str) -> dict[str, Any]:
    """The texts of a language (``ja``, ``en``), by key."""
    by_language: dict[str, dict[str, Any]] = load_yaml(_WORDS_FILE)
    return by_language[language]


def value_text(value: Shown | int, unit: FigureUnit, language: str) -> str:
    """``1,234`` or ``12.3 %``, or the reason why no value is shown."""
    if value is None:
        return NONE
    if isinstance(value, NotShown):
        return str(words(language)["not_shown"][value])
    suffix = {FigureUnit.PERCENT: " %", FigureUnit.MEGABYTES: " MB", FigureUnit.HOURS: " h"}.get(unit, "")
    return f"{value:,.{unit.decimals}f}{suffix}"


def difference_text(figure: Figure) -> str:
    """The difference to the previous month: ``+12``, ``−0.4 pt``, ``±0``."""
    difference = figure.difference
    if difference is None:
        return NONE
    if not difference:
        return "±0"
    suffix = {FigureUnit.PERCENT: " pt", FigureUnit.MEGABYTES: " MB", FigureUnit.HOURS: " h"}.get(
        figure.unit, ""
    )
    return f"{'+' if difference > 0 else '−'}{abs(difference):,.{figure.unit.decimals}f}{suffix}"


def growth_text(figure: Figure) -> str:
    """``+12.3 %``, or a dash if there is no growth."""
    growth = figure.growth_percent
    if growth is None:
        return NONE
    return "±0.0 %" if not growth else f"{'+' if growth > 0 else '−'}{abs(growth):,.1f} %"


def tone(figure: Figure) -> str:
    """``good``, ``bad`` or ``neutral``; neutral if the months are not comparable."""
    difference = figure.difference
    if not difference or not figure.is_comparable or figure.rise_is == "neutral":
        return "neutral"
    return "good" if (difference > 0) == (figure.rise_is == "good") else "bad"


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
    """The notices on the front page: data missing from the figures, and an empty tenant."""
    text, language = words(report.language), report.language
    texts = []
    missing, missing_before = report.missing_days, report.previous_missing_days
    if len(missing) == len(report.days):
        texts.append(str(text["all_missing"]))
    elif missing:
        texts.append(text["missing"].format(count=len(missing), days=_listed_days(missing, language)))
    if report.is_empty and len(missing) < len(report.days):
        texts.append(str(text["empty"]))
    if not report.has_previous:
        texts.append(str(text["no_previous"]))
    elif missing_before:
        listed = _listed_days(missing_before, language)
        texts.append(text["previous_missing"].format(count=len(missing_before), days=listed))
    first_day = report.fiscal_data_from
    if first_day and first_day > report.fiscal_start:
        texts.append(text["fiscal_from"].format(day=day_in_words(first_day, language)))
    if report.earlier_gaps:
        gaps = (
            text["month_gap"].format(month=month_in_words(month, language), count=count)
            for month, count in report.earlier_gaps
        )
        texts.append(text["fiscal_gaps"].format(months=text["listed"].join(gaps)))
    return [*texts, *_record_notices(report), *_unplaced_notices(report)]


def _record_notices(report: MonthlyReport) -> list[str]:
    """Notices about figures without a record: in the entire month, on some of its days, and on earlier days."""
    text = words(report.language)
    absent = [figure for figure in report.figures if figure.current is NotShown.NO_RECORD]
    others = [figure for figure in report.figures if figure not in absent]
    in_month = [(figure, figure.unrecorded_days) for figure in others if figure.unrecorded_days]
    earlier = [
        (figure, figure.earlier_unrecorded_days) for figure in others if figure.earlier_unrecorded_days
    ]
    texts = []
    if absent:
        names = text["listed"].join(text["figures"][figure.key] for figure in absent)
        texts.append(text["no_record"].format(figures=names))
    for key, counts in (("some_records", in_month), ("earlier_records", earlier)):
        if counts:
            listed = text["listed"].join(
                text["figure_days"].format(figure=text["figures"][figure.key], count=count)
                for figure, count in counts
            )
            texts.append(text[key].format(figures=listed))
    return texts


def _unplaced_notices(report: MonthlyReport) -> list[str]:
    text = words(report.language)
    counts = {"unplaced_events": report.unplaced_events, "unplaced_accounts": report.unplaced_accounts}
    rows = [text[key].format(count=f"{count:,}") for key, count in counts.items() if count]
    return [text["unplaced"].format(rows=text["listed"].join(rows))] if rows else []


def _listed_days(days: Sequence[date], language: str) -> str:
    text = words(language)
    named = text["listed"].join(day_in_words(day, language) for day in days[:_NAMED_DAYS])
    more = len(days) - _NAMED_DAYS
    return str(named + text["more_days"].format(count=more) if more > 0 else named)
