"""The workbook on paper and on screens: no printed page cuts a chart, and dates read the same in any spreadsheet program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from io import BytesIO
from typing import Any, Literal

import openpyxl
import pytest

from include.skillreport.batches.monthly_report.document import render_pdf
from include.skillreport.batches.monthly_report.letter import summary_lines
from include.skillreport.batches.monthly_report.report import MonthlyReport, make_report
from include.skillreport.batches.monthly_report.workbook import Person, write_workbook
from include.skillreport.core.execution.temporary_files import temporary_folder
from tests.worlds.documents import pages_of
from tests.worlds.monthly_rows import MONTH, charts_of, day

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning")

A4 = (8.27, 11.69)  # inches
# How many pixels a digit of the report's font is wide, by which columns are measured.
DIGIT = {"ja": 8, "en": 7}
# The minimum number of rows on an A4 page: those of its height without scaling, on any printer.
LEAST_ROWS_ON_A_PAGE = 40
KPI = 3
LAST_ROW = 1_000
LAST_DAY = datetime(2026, 10, 31)


def report_of(
    days: Sequence[Mapping[str, Any]], groups: int = 0, language: Literal["ja", "en"] = "ja"
) -> MonthlyReport:
    """The report of October from these days, with this many categories and departments."""
    levels = {f"level_{number}": number for number in range(1, 6)}
    rows = [
        {
            "dimension": dimension,
            "group_key": f"G{number:03}",
            "group_name": None,
            "is_rest": False,
            "people": 5,
            "records": 15,
            "level_sum": 55,
            **levels,
        }
        for dimension in ("category", "department")
        for number in range(groups)
    ]
    return make_report(
        days,
        rows,
        tenant_code="T1",
        tenant_name="T1",
        month=MONTH,
        language=language,
        colour="#000000",
        fiscal_start_month=4,
    )


def workbook(groups: int = 5, people: int = 3, language: Literal["ja", "en"] = "ja") -> Any:
    """The workbook of a report with one day, as a spreadsheet program opens it."""
    return book_of(report_of([day(MONTH, logins=1)], groups, language), people)


def book_of(report: MonthlyReport, people: int = 0) -> Any:
    """The report's workbook with this many people."""
    stream = BytesIO()
    persons = (Person(f"{number:05}", "佐藤", None, True, MONTH) for number in range(people))
    with temporary_folder() as folder:
        write_workbook(report, persons, stream, folder)
    return openpyxl.load_workbook(BytesIO(stream.getvalue()))


def printed_pages(sheet: Any, rows: int, language: str) -> list[int]:
    """The page of each row. Some pages end at a page break of the sheet, others because they are full."""
    if sheet.page_setup.fitToHeight != 0:
        return [0] * rows  # all on one page
    across, down = reversed(A4) if sheet.page_setup.orientation == "landscape" else A4
    margins = sheet.page_margins
    # Adjacent columns of the same width are one entry.
    digits = sum((each.max - each.min + 1) * each.width for each in sheet.column_dimensions.values())
    widths = digits * DIGIT[language] / 96
    scale = min(1, (across - margins.left - margins.right) / widths)
    page_height = (down - margins.top - margins.bottom) * 72 / scale
    breaks = {page_break.id for page_break in sheet.row_breaks.brk}
    pages, page, used = [], 0, 0.0
    for row in range(rows):
        height = sheet.row_dimensions[row + 1].height or sheet.sheet_format.defaultRowHeight
        if row in breaks or used + height > page_height:
            page, used = page + 1, 0.0
        used += height
        pages.append(page)
    return pages


@pytest.mark.slow("prints many documents")
@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("groups", [0, 1, 5, 8, 12, 25, 26, 70])
def test_no_printed_page_cuts_a_chart(groups: int, language: Literal["ja", "en"]) -> None:
    for number, sheet in enumerate(workbook(groups, language=language).worksheets):
        taken: set[int] = set()
        pages = printed_pages(sheet, LAST_ROW, language)
        for chart in charts_of(sheet):
            rows = range(chart.anchor._from.row, chart.anchor.to.row + 1)
            assert pages[rows[0]] == pages[rows[-1]]
            assert len(rows) <= LEAST_ROWS_ON_A_PAGE
            if number != KPI:  # two next to each other
                assert taken.isdisjoint(rows)
            taken |= set(rows)


def test_every_sheet_keeps_its_head_in_view() -> None:
    book = workbook()
    first_below = {sheet.title: sheet[sheet.freeze_panes].row for sheet in book.worksheets}
    # Two sheets begin with charts and one has several tables: the title with tenant and month stays in view.
    assert {name for name, row in first_below.items() if row == 3} == {
        "ユーザー統計",
        "機能利用状況",
        "スキル分析",
    }
    heads = {name: book[name].cell(row - 1, 1).value for name, row in first_below.items() if row != 3}
    assert heads == {"月次サマリー": "指標", "KPI分析": "月", "定義": "指標"}


@pytest.mark.parametrize("has_previous", [False, True])
def test_only_a_later_month_is_compared_with_the_one_before(has_previous: bool) -> None:
    before = [day(date(2026, 9, 30), logins=1)] if has_previous else []
    report = report_of([*before, day(MONTH, logins=1)])
    (head,) = (row for row in book_of(report)["月次サマリー"].iter_rows(values_only=True) if row[0] == "指標")
    assert [column in head for column in ("前月", "増減", "増減率")] == [has_previous] * 3
    assert ("増減率" in pages_of(render_pdf(report))[0]) == has_previous
    assert {"（増減 " in line for line in summary_lines(report)} == {has_previous}


@pytest.mark.parametrize("language", ["ja", "en"])
def test_charts_and_table_of_the_days_are_on_one_page(language: Literal["ja", "en"]) -> None:
    for sheet in workbook(language=language).worksheets[1:3]:
        (last,) = (row[0].row for row in sheet.iter_rows() if row[0].value == LAST_DAY)
        assert set(printed_pages(sheet, last, language)) == {0}


def test_every_group_is_in_one_chart_however_many_there_are() -> None:
    sheet = workbook(groups=70)["スキル分析"]
    shown: list[str] = []
    for chart in charts_of(sheet)[:-2]:  # those of goals and certificates come last
        series = chart.series[0]
        shown += [row[0].value for row in sheet[series.cat.numRef.f.rpartition("!")[2]]]
    names = [f"G{number:03}" for number in range(70)]
    assert shown == names * 2


def test_a_list_of_people_begins_with_its_heading_on_the_same_page() -> None:
    sheet = workbook(people=100)["ユーザー統計"]
    heading = next(
        row for row in range(sheet.max_row) if str(sheet.cell(row + 1, 1).value).startswith("社員一覧")
    )
    pages = printed_pages(sheet, heading + 10, "ja")
    assert pages[heading] == pages[heading + 6] == 1
    assert sheet.print_title_rows == f"${heading + 2}:${heading + 2}"


@pytest.mark.parametrize(("language", "sheet"), [("ja", "ユーザー統計"), ("en", "Users")])
def test_dates_say_in_which_language_they_are(language: Literal["ja", "en"], sheet: str) -> None:
    cell = next(
        row[0]
        for row in workbook(language=language)[sheet].iter_rows()
        if row[0].is_date and "m" in row[0].number_format
    )
    assert (cell.value.date(), cell.number_format) == (
        MONTH,
        {"ja": "[$-411]m/d (aaa)", "en": "[$-409]d mmm (ddd)"}[language],
    )
