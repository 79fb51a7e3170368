"""The native charts of the workbook. Each plots rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.skillreport.batches.monthly_report.report import MonthlyReport
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.sheet import Sheet, rows_under
from include.skillreport.batches.monthly_report.workbook.styles import LEVEL_COLOURS, LINE, MUTED

_GRID = {"visible": True, "line": {"color": "#E5E7EB"}}

_DAILY_CHART_HEIGHT = 240  # pixels

# The sheet and the column of each figure in the daily table.
_DAILY_COLUMNS = {
    "users_active": ("users", 2),
    "logins": ("users", 4),
    "api_calls": ("features", 1),
    "error_rate": ("features", 3),
}


def daily_first_row(report: MonthlyReport, source: str) -> int:
    """The first row of the sheet's daily table, below a title, the charts of its figures (or their notes) and a head."""
    figures = (figure for figure, (sheet, _) in _DAILY_COLUMNS.items() if sheet == source)
    heights = (rows_under(_DAILY_CHART_HEIGHT) if report.has_record(figure) else 2 for figure in figures)
    return 3 + sum(heights) + 1


def day_chart(sheet: Sheet, title_key: str, figure: str, kind: str, axis: str, width: int) -> None:
    """Insert a daily chart of a figure of ``_DAILY_COLUMNS``, or a note if there is no record. The width is in pixels."""
    book, source_column = sheet.book, _DAILY_COLUMNS[figure]
    title = book.text["charts"][title_key]
    if not book.report.has_record(figure):
        sheet.write([f"{title}: {book.text['not_shown']['no_record']}"], book.style("plain", colour=MUTED))
        sheet.row += 1
        return
    first = daily_first_row(book.report, source_column[0])
    chart = time_chart(book, kind, title, "day", axis, legend=False)
    chart.add_series(
        series(
            book.text["sheets"][source_column[0]],
            (first, first + len(book.report.days) - 1),
            source_column[1],
            title,
            book.report.colour,
            filled=kind == "column",
        )
    )
    insert(sheet, sheet.reserve_rows(_DAILY_CHART_HEIGHT), 0, chart, (width, _DAILY_CHART_HEIGHT))


def time_chart(book: Book, kind: str, title: str, x_axis: str, y_axis: str, *, legend: bool) -> Any:
    """A chart over days or months (``x_axis``), without series."""
    font = _font(book)
    chart = book.workbook.add_chart({"type": kind})
    chart.set_title({"name": title, "name_font": _title_font(book), "overlay": False})
    labels = book.text["axes"]
    chart.set_x_axis(
        {
            "name": labels[x_axis],
            "name_font": font,
            "num_font": font,
            "num_format": {"day": "d", "month": "m"}.get(x_axis, "General"),
            "text_axis": True,
            "line": {"color": LINE},
        }
    )
    chart.set_y_axis(
        {
            "name": labels[y_axis],
            "name_font": font,
            "num_font": font,
            "min": 0,
            "major_gridlines": _GRID,
            "line": {"none": True},
        }
    )
    chart.set_legend({"position": "bottom", "font": font} if legend else {"none": True})
    chart.set_chartarea({"border": {"color": LINE}})
    chart.show_na_as_empty_cell()
    return chart


def level_chart(sheet: Sheet, rows: tuple[int, int], levels: Sequence[str], title: str, axis: str) -> Any:
    """The share of each level per group. ``rows`` are the first and last row of the groups' table."""
    book, font = sheet.book, _font(sheet.book)
    chart = book.workbook.add_chart({"type": "bar", "subtype": "percent_stacked"})
    for number, (level, colour) in enumerate(zip(levels, LEVEL_COLOURS, strict=True)):
        chart.add_series(series(sheet.name, rows, 4 + number, level, colour, filled=True))
    chart.set_title({"name": title, "name_font": _title_font(book)})
    chart.set_x_axis(
        {
            "name": book.text["axes"]["share"],
            "name_font": font,
            "num_font": font,
            "num_format": "0%",
            "major_gridlines": _GRID,
        }
    )
    # interval_unit 1 labels every group, even if its bar is low.
    chart.set_y_axis({"name": axis, "name_font": font, "num_font": font, "reverse": True, "interval_unit": 1})
    chart.set_legend({"position": "bottom", "font": font})
    chart.set_chartarea({"border": {"color": LINE}})
    return chart


def status_chart(sheet: Sheet, rows: tuple[int, int], title: str) -> Any:
    """A bar per status, with its number. ``rows`` are the first and last row of the table."""
    book, font = sheet.book, _font(sheet.book)
    chart = book.workbook.add_chart({"type": "bar"})
    chart.add_series(
        series(sheet.name, rows, 1, title, book.report.colour, filled=True)
        | {"data_labels": {"value": True, "font": font}}
    )
    chart.set_title({"name": title, "name_font": _title_font(book)})
    axis, labels = {"num_font": font, "name_font": font}, book.text["axes"]
    chart.set_x_axis(axis | {"name": labels["number"], "major_gridlines": {"visible": False}})
    chart.set_y_axis(axis | {"name": labels["status"], "reverse": True})
    chart.set_legend({"none": True})
    chart.set_chartarea({"border": {"color": LINE}})
    return chart


def series(
    source: str, rows: tuple[int, int], column: int, name: str, colour: str, *, filled: bool = False
) -> dict[str, Any]:
    """A series from rows (first, last) of a column of the sheet ``source``; ``filled`` for bars, otherwise a line."""
    first, last = rows
    plotted: dict[str, Any] = {
        "name": name,
        "categories": [source, first, 0, last, 0],
        "values": [source, first, column, last, column],
    }
    if filled:
        return plotted | {"fill": {"color": colour}, "gap": 60}
    marker = {"type": "circle", "size": 4, "fill": {"color": colour}, "border": {"color": colour}}
    return plotted | {"line": {"color": colour, "width": 2}, "marker": marker}


def insert(sheet: Sheet, row: int, column: int, chart: Any, size: tuple[int, int]) -> None:
    """Insert a chart with this width and height in pixels."""
    chart.set_size({"width": size[0], "height": size[1]})
    sheet.worksheet.insert_chart(row, column, chart, {"x_offset": 4, "y_offset": 4, "description": ""})


def _font(book: Book) -> dict[str, Any]:
    return {"name": book.font, "size": 9, "color": "#374151"}


def _title_font(book: Book) -> dict[str, Any]:
    return _font(book) | {"size": 11, "bold": True}
