"""The report as a PDF: A4, Japanese fonts embedded, charts as vectors. The template shows finished texts and calculates nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from include.skillreport.batches.monthly_report.figures import Figure, FigureUnit, Shown
from include.skillreport.batches.monthly_report.report import (
    MONTH_UNITS,
    MonthlyReport,
    SkillGroup,
    last_day_of,
)
from include.skillreport.batches.monthly_report.wording import (
    difference_text,
    group_name,
    growth_text,
    notices,
    short_month,
    tone,
    value_text,
    words,
)
from include.skillreport.core.typesetting import compile_pdf
from include.skillreport.core.written_dates import month_in_words

_TEMPLATE = Path(__file__).with_name("report.typ")

_TILES = (
    "users_total",
    "users_active",
    "logins",
    "api_calls",
    "mean_level",
    "coverage_rate",
    "goal_rate",
    "certificates_expiring",
)

# The figures of the daily charts, and the figure of the day that is None without a record.
_DAILY_CHARTS = {
    "users_active": "users_active",
    "logins": "logins",
    "api_calls": "api_calls",
    "error_rate": "api_calls",
}

# Without the number of users, for the page's width.
_MONTH_COLUMNS = {key: unit for key, unit in MONTH_UNITS.items() if key != "users_total"}


def render_pdf(report: MonthlyReport) -> bytes:
    """The report as a PDF. The same report gives the same bytes.

    Characters without a glyph are printed as a box. For threads and forks see ``compile_pdf``.
    """
    # The day after the month, so that the bytes do not depend on the time of writing.
    dated = last_day_of(report.month) + timedelta(days=1)
    return compile_pdf(
        _TEMPLATE, "report", json.dumps(_template_data(report), ensure_ascii=False), dated=dated
    )


def _template_data(report: MonthlyReport) -> dict[str, Any]:
    return _front_page(report) | _usage(report) | _skills(report) | _definitions(report)


def _front_page(report: MonthlyReport) -> dict[str, Any]:
    text, language = words(report.language), report.language
    return {
        "language": language,
        "colour": report.colour,
        "title": text["title"],
        "tenant": report.tenant_name,
        "month": month_in_words(report.month, language),
        "period": text["period"].format(
            first=report.month.isoformat(), last=last_day_of(report.month).isoformat()
        ),
        "headings": text["headings"] | {"fiscal": text["fiscal_year"].format(year=report.fiscal_year)},
        "notices": notices(report),
        "tiles": [_tile(report.figure(key), language) for key in _TILES],
        "columns": text["columns"],
        "figures": [_figure_row(figure, language) for figure in report.figures],
        "has_previous": report.has_previous,
        "growth_note": text["growth_note"],
    }


def _usage(report: MonthlyReport) -> dict[str, Any]:
    """Charts of the days and months, and the table of the months."""
    text, language = words(report.language), report.language
    return {
        "charts": text["charts"],
        "axes": text["axes"],
        "days": {
            "labels": [str(day.date.day) for day in report.days],
            "weekend": [day.date.weekday() >= 5 for day in report.days],
            **{key: _numbers([getattr(day, key) for day in report.days]) for key in _DAILY_CHARTS},
        },
        "day_marks": {key: _day_marks(report, column) for key, column in _DAILY_CHARTS.items()},
        "absent_charts": [key for key in _DAILY_CHARTS if not report.has_record(key)],
        "no_record": text["not_shown"]["no_record"],
        "months": {
            "labels": [short_month(month.month, language) for month in report.months],
            **{
                key: _numbers([getattr(month, key) for month in report.months])
                for key in ("users_active", "coverage_rate", "goal_rate")
            },
        },
        "month_rows": [
            [
                month_in_words(month.month, language),
                *(value_text(getattr(month, key), unit, language) for key, unit in _MONTH_COLUMNS.items()),
            ]
            for month in report.months
        ],
        "month_columns": [text["month"], *(text["figures"][key] for key in _MONTH_COLUMNS)],
        "coverage_name": text["figures"]["coverage_rate"],
        "goal_rate_name": text["figures"]["goal_rate"],
    }


def _day_marks(report: MonthlyReport, column: str) -> list[str | None]:
    """The marks of a daily chart on days without data or without a record."""
    text = words(report.language)
    return [
        text["missing_mark"]
        if day.is_missing
        else text["not_shown"]["no_record"]
        if getattr(day, column) is None
        else None
        for day in report.days
    ]


def _skills(report: MonthlyReport) -> dict[str, Any]:
    text, language = words(report.language), report.language
    certificates = [(name, report.figure(key).current) for key, name in text["certificates"].items()]
    return {
        "goals": _bars([(text["goals"][key], count) for key, count in report.goals], language),
        "certificates": _bars(certificates, language),
        "levels": [text["skills"]["level"].format(number=number) for number in range(1, 5)]
        + [text["skills"]["level_5"]],
        "skill_columns": text["skills"],
        "groups": [
            {
                "title": text["charts"][key],
                "column": text["skills"][dimension],
                "rows": [_group_row(group, dimension, language) for group in groups],
            }
            for key, dimension, groups in (
                ("categories", "category", report.categories),
                ("departments", "department", report.departments),
            )
        ],
        "no_groups": text["no_groups"],
        "privacy": text["privacy"],
        "hidden": text["not_shown"]["few_people"],
    }


def _definitions(report: MonthlyReport) -> dict[str, Any]:
    text = words(report.language)
    return {
        "definition_columns": [text["columns"]["figure"], text["definition"]],
        "definitions": [
            [text["figures"][key], definition] for key, definition in text["definitions"].items()
        ],
        "definition_notes": [text["definition_intro"], text["fiscal_definition"]],
    }


def _tile(figure: Figure, language: str) -> dict[str, str]:
    text = words(language)
    return {
        "name": text["figures"][figure.key],
        "value": value_text(figure.current, figure.unit, language),
        "change": difference_text(figure),
        "tone": tone(figure),
        "against": text["columns"]["previous"],
    }


def _figure_row(figure: Figure, language: str) -> dict[str, str]:
    text = words(language)
    return {
        "name": text["figures"][figure.key],
        "current": value_text(figure.current, figure.unit, language),
        "previous": value_text(figure.previous, figure.unit, language),
        "difference": difference_text(figure),
        "growth": growth_text(figure),
        "fiscal": value_text(figure.fiscal, figure.fiscal_unit, language),
        "kind": text["columns"][figure.fiscal_kind],
        "tone": tone(figure),
    }


def _group_row(group: SkillGroup, dimension: str, language: str) -> dict[str, Any]:
    return {
        "name": group_name(group, dimension, language),
        "people": value_text(group.people, FigureUnit.COUNT, language),
        "records": value_text(group.records, FigureUnit.COUNT, language),
        "mean": value_text(group.mean_level, FigureUnit.LEVEL, language),
        "levels": list(group.levels),
    }


def _bars(rows: Sequence[tuple[str, Shown | int]], language: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": _number(count) or 0, "text": value_text(count, FigureUnit.COUNT, language)}
        for name, count in rows
    ]


def _numbers(values: Sequence[Shown | int]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Shown | int) -> float | None:
    """A number for a chart. Float is exact enough for the length of a bar."""
    return float(value) if isinstance(value, Decimal | int) else None
