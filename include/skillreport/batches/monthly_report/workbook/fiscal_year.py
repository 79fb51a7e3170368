"""The sheet with the fiscal year's months."""

from __future__ import annotations

from typing import Any

from include.skillreport.batches.monthly_report.figures import FigureUnit, NotShown, Shown
from include.skillreport.batches.monthly_report.report import MONTH_UNITS
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.charts import insert, series, time_chart
from include.skillreport.batches.monthly_report.workbook.sheet import Sheet
from include.skillreport.batches.monthly_report.workbook.styles import (
    ALARM_FILL,
    MUTED,
    SUCCESS_FILL,
    WARNING_FILL,
)

_CHART_SIZE = (480, 270)  # pixels

# From red over yellow to green, for 0, 50 and 100 percent.
_PERCENT_SCALE = {
    "type": "3_color_scale",
    "min_color": ALARM_FILL,
    "mid_color": WARNING_FILL,
    "max_color": SUCCESS_FILL,
    "min_type": "num",
    "mid_type": "num",
    "max_type": "num",
    "min_value": 0,
    "mid_value": 50,
    "max_value": 100,
}


def write_fiscal_year(book: Book) -> None:
    """A row per month of the fiscal year, and charts of users and rates."""
    report, text = book.report, book.text
    names = text["figures"]
    sheet = Sheet(book, "kpi", (14, 11, 14, 14, 12, 14, 13, 13, 13, 13), landscape=True)
    sheet.title(f"{text['sheets']['kpi']}　{text['fiscal_year'].format(year=report.fiscal_year)}")
    sheet.head([text["month"], text["days"], *(names[key] for key in MONTH_UNITS)], 32, freezes_columns=1)
    first = sheet.row
    month_style = book.style("cell", number="yyyy-mm", align="center")
    for month in report.months:
        sheet.write(
            [
                (month.month, month_style),
                book.number(month.days, FigureUnit.COUNT),
                *(_cell(book, getattr(month, key), unit) for key, unit in MONTH_UNITS.items()),
            ]
        )
    last = sheet.row - 1
    sheet.highlight_high_rates(first, last, 6)
    for column in (8, 9):
        sheet.worksheet.conditional_format(first, column, last, column, _PERCENT_SCALE)
    if any(month.has_hidden for month in report.months):
        sheet.note(text["hidden_months"], "note", size=8, colour=MUTED)
    sheet.row += 1
    chart_row = sheet.reserve_rows(_CHART_SIZE[1])
    users = time_chart(book, "column", text["charts"]["kpi_users"], "month", "users", legend=False)
    users.add_series(series(sheet.name, (first, last), 3, names["users_active"], report.colour, filled=True))
    insert(sheet, chart_row, 0, users, _CHART_SIZE)
    rates = time_chart(book, "line", text["charts"]["kpi_rates"], "month", "percent", legend=True)
    for column, key, colour in ((8, "coverage_rate", report.colour), (9, "goal_rate", "#E08E0B")):
        rates.add_series(series(sheet.name, (first, last), column, names[key], colour))
    insert(sheet, chart_row, 5, rates, _CHART_SIZE)
    sheet.end()


def _cell(book: Book, value: Shown, unit: FigureUnit) -> tuple[Any, Any]:
    # No chart plots figures that may have no record, so their cells may contain a text.
    return book.number(value, unit) if value is NotShown.NO_RECORD else book.plotted(value, unit)
