"""The sheet of skills by category and department, and of goals and certificates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

from include.skillreport.batches.monthly_report.figures import FigureUnit
from include.skillreport.batches.monthly_report.report import SkillGroup
from include.skillreport.batches.monthly_report.wording import group_name
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.charts import insert, level_chart, status_chart
from include.skillreport.batches.monthly_report.workbook.sheet import TABLE_HEAD_HEIGHT, Sheet
from include.skillreport.batches.monthly_report.workbook.styles import BAR, MUTED

_STATUS_CHART_SIZE = (620, 180)  # pixels
_GROUP_CHART_WIDTH = 820
# A chart with more groups does not fit on a printed page.
_GROUPS_PER_CHART = 23


def write_skills(book: Book) -> None:
    """The main figures, a table and charts per dimension, and the statuses of goals and certificates."""
    report, text = book.report, book.text
    sheet = Sheet(book, "skills", (30, 15, 11, 11, 10, 10, 10, 10, 11))
    sheet.title(text["sheets"]["skills"])
    for key in ("skill_records", "mean_level", "coverage_rate", "goal_rate", "certificates_held"):
        figure = report.figure(key)
        sheet.write(
            [(text["figures"][key], book.style("cell")), book.number(figure.current, figure.unit, bold=True)]
        )
    sheet.row += 1
    _write_groups(sheet, "category", "categories", report.categories)
    _write_groups(sheet, "department", "departments", report.departments)
    sheet.note(text["privacy"], "note", size=8, colour=MUTED)
    sheet.row += 1
    _write_statuses(sheet, "goals", [(text["goals"][key], count) for key, count in report.goals])
    _write_statuses(
        sheet,
        "certificates",
        [(name, report.figure(key).current) for key, name in text["certificates"].items()],
    )
    sheet.end()


def _write_groups(sheet: Sheet, dimension: str, title_key: str, groups: Sequence[SkillGroup]) -> None:
    book, text, columns = sheet.book, sheet.book.text, sheet.book.text["skills"]
    charts = list(_split_into_charts(groups))
    first_chart = _chart_height(len(charts[0])) if charts else 0
    sheet.keep_together(len(groups), head=TABLE_HEAD_HEIGHT, chart=first_chart)
    sheet.heading(text[title_key])
    if not groups:
        sheet.write([text["no_groups"]], book.style("plain", colour=MUTED))
        sheet.row += 1
        return
    levels = [columns["level"].format(number=number) for number in range(1, 5)] + [columns["level_5"]]
    sheet.head([columns[dimension], columns["people"], columns["records"], columns["mean"], *levels], 32)
    first = sheet.row
    for group in groups:
        sheet.write(
            [
                (group_name(group, dimension, book.report.language), book.style("cell")),
                book.number(group.people, FigureUnit.COUNT),
                book.number(group.records, FigureUnit.COUNT),
                book.number(group.mean_level, FigureUnit.LEVEL),
                *(book.number(count, FigureUnit.COUNT) for count in group.levels),
            ]
        )
    data_bar = {"type": "data_bar", "bar_color": BAR, "bar_solid": True, "min_type": "num", "min_value": 0}
    sheet.worksheet.conditional_format(first, 3, sheet.row - 1, 3, data_bar)
    sheet.row += 1
    title = text["charts"][title_key]
    for number, charted in enumerate(charts, 1):
        height, last = _chart_height(len(charted)), first + len(charted) - 1
        sheet.keep_together(chart=height)
        chart_title = f"{title} ({number}/{len(charts)})" if len(charts) > 1 else title
        chart = level_chart(sheet, (first, last), levels, chart_title, columns[dimension])
        insert(sheet, sheet.reserve_rows(height), 0, chart, (_GROUP_CHART_WIDTH, height))
        first = last + 1


def _write_statuses(sheet: Sheet, title_key: str, rows: Sequence[tuple[str, Any]]) -> None:
    book = sheet.book
    title = book.text["charts"][title_key]
    height = _STATUS_CHART_SIZE[1]
    sheet.keep_together(len(rows), head=TABLE_HEAD_HEIGHT, chart=height)
    sheet.heading(title)
    first = sheet.row
    for name, count in rows:
        sheet.write([(name, book.style("cell")), book.number(count, FigureUnit.COUNT)])
    chart = status_chart(sheet, (first, sheet.row - 1), title)
    sheet.row += 1
    insert(sheet, sheet.reserve_rows(height), 0, chart, _STATUS_CHART_SIZE)


def _split_into_charts(groups: Sequence[SkillGroup]) -> Iterator[Sequence[SkillGroup]]:
    """The groups of each chart, in about equal numbers."""
    if groups:
        charts = ceil(len(groups) / _GROUPS_PER_CHART)
        size = ceil(len(groups) / charts)
        yield from (groups[start : start + size] for start in range(0, len(groups), size))


def _chart_height(groups: int) -> int:
    """In pixels: title, axis and legend, and a bar per group."""
    return 130 + 28 * groups
