"""The sheets with a table of days: users, with the list of employees, and features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from include.skillreport.batches.monthly_report.figures import FigureUnit
from include.skillreport.batches.monthly_report.wording import NONE
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.charts import daily_first_row, day_chart
from include.skillreport.batches.monthly_report.workbook.sheet import TABLE_HEAD_HEIGHT, Sheet
from include.skillreport.batches.monthly_report.workbook.styles import BAR, MUTED

# A page contains at least this many employees below their list's heading.
_FIRST_PEOPLE = 5


@dataclass(frozen=True)
class Person:
    """An employee of the list. ``code`` is always written as text, even if it looks like a number."""

    code: str | None
    name: str | None
    department: str | None
    has_account: bool
    last_login_on: date | None


def write_users(book: Book, people: Iterable[Person]) -> None:
    """Users and logins by day, and the list of employees."""
    report, text = book.report, book.text
    names = text["figures"]
    sheet = Sheet(book, "users", (17, 29, 29, 17, 18))
    sheet.title(text["sheets"]["users"])
    day_chart(sheet, "active", "users_active", "line", "users", 690)
    day_chart(sheet, "logins", "logins", "column", "logins", 690)
    sheet.head(
        [text["date"], names["users_total"], text["charts"]["active"], names["users_new"], names["logins"]]
    )
    assert sheet.row == daily_first_row(report, "users")
    for day in report.days:
        counts = (day.users_total, day.users_active, day.users_new, day.logins)
        sheet.write([book.day_cell(day.date), *(book.plotted(count, FigureUnit.COUNT) for count in counts)])
    sheet.row += 1
    _write_people(sheet, people)
    sheet.end()


def _write_people(sheet: Sheet, people: Iterable[Person]) -> None:
    book, text = sheet.book, sheet.book.text
    columns = text["people"]
    sheet.keep_together(_FIRST_PEOPLE, head=TABLE_HEAD_HEIGHT)
    sheet.heading(text["people_list"])
    head = sheet.head([columns[key] for key in ("code", "name", "department", "account", "last_login")])
    sheet.worksheet.repeat_rows(head)
    cell, centre = book.style("cell"), book.style("cell", align="center")
    day_style = book.style("cell", number="yyyy-mm-dd", align="center")
    for person in people:
        sheet.write(
            [
                (person.code or NONE, cell),
                (person.name or NONE, cell),
                (person.department or text["no_department"], cell),
                (columns["yes" if person.has_account else "no"], centre),
                (person.last_login_on or NONE, day_style),
            ]
        )
    if sheet.row > head + 1:
        sheet.worksheet.autofilter(head, 0, sheet.row - 1, 4)
    else:
        sheet.write([text["no_people"]], book.style("plain", colour=MUTED))


def write_features(book: Book) -> None:
    """API calls, errors and the use of features by day."""
    report, text = book.report, book.text
    sheet = Sheet(book, "features", (17, 16, 14, 15, 16, 16, 16))
    sheet.title(text["sheets"]["features"])
    day_chart(sheet, "api", "api_calls", "column", "calls", 740)
    day_chart(sheet, "error_rate", "error_rate", "line", "percent", 740)
    units = {
        "api_calls": FigureUnit.COUNT,
        "api_errors": FigureUnit.COUNT,
        "error_rate": FigureUnit.PERCENT,
        "reports_generated": FigureUnit.COUNT,
        "notifications_sent": FigureUnit.COUNT,
        "skill_assessments": FigureUnit.COUNT,
    }
    head = sheet.head([text["date"], *(text["figures"][key] for key in units)])
    sheet.worksheet.set_row(head, 32)
    assert sheet.row == daily_first_row(report, "features")
    first = sheet.row
    for day in report.days:
        figures = (
            # A column that no chart plots may have a text.
            (book.plotted if report.has_record(key) else book.number)(getattr(day, key), unit)
            for key, unit in units.items()
        )
        sheet.write([book.day_cell(day.date), *figures])
    sheet.highlight_high_rates(first, sheet.row - 1, 3)
    sheet.worksheet.conditional_format(
        first, 1, sheet.row - 1, 1, {"type": "data_bar", "bar_color": BAR, "bar_solid": True}
    )
    sheet.end()
