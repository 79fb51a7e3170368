"""The report as an Excel workbook with native charts. Nothing is calculated here, and no text ever becomes a formula or a link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import ceil
from typing import IO, Any

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from include.data_management.monthly_report.report import (
    MONTH_UNITS,
    Hidden,
    MonthlyReport,
    Shown,
    SkillGroup,
    Unit,
    last_day_of,
)
from include.data_management.monthly_report.wording import (
    NONE,
    difference_text,
    group_name,
    growth_text,
    month_text,
    notices,
    tone,
    value_text,
    words,
)

_A4 = 9
# Inches: the sheet of paper, and its margins.
_PAPER_WIDTH, _PAPER_HEIGHT = 8.27, 11.69
_SIDE_MARGIN, _TOP_MARGIN, _BOTTOM_MARGIN = 0.5, 0.6, 0.7
# What is left of a page: programs scale it to whole percents.
_FILLED = 0.97
# A row's height in points and in pixels. Without one, each program makes rows as high as the font that it finds.
_ROW_HEIGHT, _ROW_PIXELS = 15, 20
_POINTS_PER_INCH, _PIXELS_PER_INCH = 72, 96

# The fonts, and how many pixels their digits are wide, by which columns are measured.
_LATIN_FONT, _JAPANESE_FONT = "Calibri", "Yu Gothic"
_DIGIT_PIXELS = {_LATIN_FONT: 7, _JAPANESE_FONT: 8}
_GOOD, _BAD, _MUTED, _LINE = "#1B7F4B", "#C0392B", "#6B7280", "#D5DAE1"
LEVEL_COLOURS = ("#C9D3E0", "#9FB3CC", "#6F8DB3", "#41689A", "#1F4273")

# An error rate above so many percent is marked.
_HIGH_ERROR_RATE = 5

# Charts' heights in pixels; and groups in one chart: more would not fit on a printed page.
_DAILY_CHART_HEIGHT, _MONTHLY_CHART_HEIGHT, _STATUS_CHART_HEIGHT = 240, 270, 180
_CHART_GROUPS = 23
# No page ends with a heading and fewer people than these.
_FIRST_PEOPLE = 5
# Points of a table's heading, its head and the free row before its chart.
_TABLE_HEAD = 22 + 32 + _ROW_HEIGHT

# A column's width counts digits of this size.
_DEFAULT_FONT_SIZE = 11

# What XlsxWriter cuts a cell off at.
_LONGEST_TEXT = 32_767

_NUMBER_FORMATS = {
    Unit.COUNT: "#,##0",
    Unit.MEAN: "#,##0.0",
    Unit.LEVEL: "0.00",
    Unit.PERCENT: '0.0" %"',
    Unit.HOURS: '#,##0.0" h"',
    Unit.MEGABYTES: '#,##0.0" MB"',
}


@dataclass(frozen=True)
class Person:
    """An employee as the list shows them; ``code`` is text, whatever it looks like."""

    code: str | None
    name: str | None
    department: str | None
    has_account: bool
    last_login_on: date | None


def write_workbook(report: MonthlyReport, people: Iterable[Person], stream: IO[bytes]) -> None:
    """Write the workbook. The same report and people give the same bytes; the people are read one by one, and memory stays flat."""
    workbook = xlsxwriter.Workbook(
        stream,
        {
            # Rows go to disk as they come, so each sheet is written from the top to the bottom.
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd",
        },
    )
    workbook.set_properties(
        {
            "title": f"{words(report.language)['title']} {month_text(report.month, report.language)}",
            "author": "",
            # The day after the month, so that the bytes do not depend on when it is made.
            "created": datetime.combine(last_day_of(report.month) + timedelta(days=1), time()),
        }
    )
    try:
        book = _Book(workbook, report)
        book.summary()
        book.users(people)
        book.features()
        book.kpi()
        book.skills()
        book.definitions()
    finally:
        workbook.close()


def _charted(groups: Sequence[SkillGroup]) -> Iterator[Sequence[SkillGroup]]:
    """The groups of each chart, as many in one as in another."""
    if groups:
        charts = ceil(len(groups) / _CHART_GROUPS)
        size = ceil(len(groups) / charts)
        yield from (groups[start : start + size] for start in range(0, len(groups), size))


def _group_chart_height(groups: int) -> int:
    """In pixels: title, axis and legend, and a bar a group."""
    return 130 + 28 * groups


def _rows_under(pixels: int) -> int:
    """The rows that a chart of this height covers, and a free one."""
    return ceil(pixels / _ROW_PIXELS) + 1


# Where the daily tables begin: below a title, two charts and a head.
_DAILY_FIRST_ROW = 3 + 2 * _rows_under(_DAILY_CHART_HEIGHT) + 1


def _lines(text: str, width: float) -> int:
    """How many lines a text takes in a cell of so many digits' width; a Japanese character is as wide as two."""
    needed = sum(1 if character.isascii() else 2 for character in text)
    # Lines break before they are full.
    return ceil(needed * 1.1 / width)


class _Sheet:
    """A worksheet that is written row by row."""

    def __init__(self, book: _Book, key: str, widths: Sequence[float], *, landscape: bool = False) -> None:
        self.book, self.text = book, book.text
        self.sheet = book.workbook.add_worksheet(self.text["sheets"][key])
        self.name = self.text["sheets"][key]
        self.row = 0
        self.columns = len(widths)
        self._heights: dict[int, float] = {}
        self._breaks: list[int] = []
        paper = (_PAPER_HEIGHT, _PAPER_WIDTH) if landscape else (_PAPER_WIDTH, _PAPER_HEIGHT)
        # Widths are in digits of the Japanese font, so that a sheet is as wide in either language; a column has five pixels of its own.
        digit = _DIGIT_PIXELS[_JAPANESE_FONT]
        self.widths = [width * digit / _DIGIT_PIXELS[book.font] for width in widths]
        inches = sum(digit * width + 5 for width in widths) / _PIXELS_PER_INCH
        scale = min(1, (paper[0] - 2 * _SIDE_MARGIN) / inches)
        height = paper[1] - _TOP_MARGIN - _BOTTOM_MARGIN
        self._page_height = height * _POINTS_PER_INCH / scale * _FILLED
        self.sheet.set_default_row(_ROW_HEIGHT)
        for column, width in enumerate(self.widths):
            self.sheet.set_column(column, column, width)
        self.sheet.hide_gridlines(2)
        self.sheet.set_paper(_A4)
        if landscape:
            self.sheet.set_landscape()
        self.sheet.set_margins(_SIDE_MARGIN, _SIDE_MARGIN, _TOP_MARGIN, _BOTTOM_MARGIN)
        self.sheet.fit_to_pages(1, 0)
        self.sheet.center_horizontally()
        self.sheet.set_footer("&L&8&A&R&8&P / &N")
        self.sheet.set_tab_color(book.report.colour)

    def write(self, values: Sequence[Any], style: Any = None, height: float | None = None) -> int:
        """A row of texts, numbers, dates or (value, style) pairs; None leaves a cell empty. Returns its number."""
        if height:
            self.sheet.set_row(self.row, height)
            self._heights[self.row] = height
        for column, value in enumerate(values):
            own, cell = (value[1], value[0]) if isinstance(value, tuple) else (style, value)
            if cell is None:
                self.sheet.write_blank(self.row, column, None, own)
            elif isinstance(cell, str):
                self.sheet.write_string(self.row, column, cell[:_LONGEST_TEXT], own)
            elif isinstance(cell, date):
                self.sheet.write_datetime(self.row, column, datetime.combine(cell, time()), own)
            else:
                self.sheet.write_number(self.row, column, float(cell), own)
        self.row += 1
        return self.row - 1

    def title(self, heading: str) -> None:
        report = self.book.report
        blank = [""] * (self.columns - 1)
        self.write([heading, *blank], self.book.style("band", size=16, bold=True), 30)
        line = f"{report.tenant_name}　{month_text(report.month, report.language)}"
        self.write([line, *blank], self.book.style("band", size=10), 18)
        self.row += 1

    def note(self, text: str, kind: str, *, size: float = 10, **style: Any) -> None:
        """A text across the sheet, in as many lines as it takes."""
        own = self.book.style(kind, size=size, **style)
        self.sheet.merge_range(self.row, 0, self.row, self.columns - 1, "", own)
        lines = _lines(text, sum(self.widths) * _DEFAULT_FONT_SIZE / size)
        self.write([text], own, 6 + 1.5 * size * lines)

    def heading(self, text: str) -> None:
        self.write([text], self.book.style("plain", size=12, bold=True, colour=self.book.report.colour), 22)

    def head(self, texts: Sequence[str], height: float = 20) -> int:
        return self.write(texts, self.book.style("head"), height)

    def chart_room(self, pixels: int) -> int:
        """Leave rows for a chart of this height; returns the first."""
        row = self.row
        self.row += _rows_under(pixels)
        return row

    def keep_together(self, rows: int = 0, *, head: float = 0, chart: int = 0) -> None:
        """Begin a new printed page unless this one has room for so many rows of a table and its chart: no page cuts a chart.

        ``head`` is what stands above the rows in points, ``chart`` the chart's height in pixels.
        """
        points = head + (rows + (_rows_under(chart) if chart else 0)) * _ROW_HEIGHT
        page_begins = self._breaks[-1] if self._breaks else 0
        used = sum(self._heights.get(row, _ROW_HEIGHT) for row in range(page_begins, self.row))
        if used and used + points > self._page_height:
            self._breaks.append(self.row)

    def end(self) -> None:
        self.sheet.set_h_pagebreaks(self._breaks)
        self.sheet.print_area(0, 0, max(self.row - 1, 0), self.columns - 1)


class _Book:
    def __init__(self, workbook: Any, report: MonthlyReport) -> None:
        self.workbook, self.report = workbook, report
        self.text = words(report.language)
        self.font = _JAPANESE_FONT if report.language == "ja" else _LATIN_FONT
        self._styles: dict[tuple[Any, ...], Any] = {}
        workbook.formats[0].set_font_name(self.font)

    def style(
        self,
        kind: str,
        *,
        size: float = 10,
        bold: bool = False,
        colour: str | None = None,
        number: str | None = None,
        align: str | None = None,
    ) -> Any:
        key = (kind, size, bold, colour, number, align)
        if key not in self._styles:
            base: dict[str, Any] = {
                "font_name": self.font,
                "font_size": size,
                "bold": bold,
                "valign": "vcenter",
            }
            if kind == "band":
                base |= {"bg_color": self.report.colour, "font_color": "#FFFFFF", "indent": 1}
            elif kind == "head":
                base |= {
                    "bg_color": "#E8ECF2",
                    "bold": True,
                    "bottom": 1,
                    "bottom_color": _LINE,
                    "align": "center",
                }
                base |= {"text_wrap": True}
            elif kind == "cell":
                base |= {"bottom": 1, "bottom_color": _LINE}
            elif kind == "gap":
                base |= {"bottom": 1, "bottom_color": _LINE, "bg_color": "#F1F2F4"}
            elif kind == "wrap":
                base |= {"bottom": 1, "bottom_color": _LINE, "text_wrap": True, "valign": "top"}
            elif kind == "note":
                base |= {"text_wrap": True, "valign": "top"}
            elif kind == "notice":
                base |= {"bg_color": "#FFF4D6", "font_color": "#7A5200", "text_wrap": True, "left": 5}
                base |= {"left_color": "#E0A100"}
            if colour:
                base["font_color"] = colour
            if number:
                base |= {"num_format": number}
            if align:
                base["align"] = align
            self._styles[key] = self.workbook.add_format(base)
        return self._styles[key]

    def number(self, value: Shown | int, unit: Unit, **style: Any) -> tuple[Any, Any]:
        """A cell: the number as it is shown everywhere, or why there is none."""
        if value is None or isinstance(value, Hidden):
            size = 10 if value is None else 8
            text = value_text(value, unit, self.report.language)
            return text, self.style("cell", size=size, align="right", colour=_MUTED)
        return value, self.style("cell", number=_NUMBER_FORMATS[unit], **style)

    def plotted(self, value: Shown | int, unit: Unit) -> tuple[Any, Any]:
        """A cell that a chart shows: without a value it is empty, because a text would be plotted as 0."""
        is_shown = isinstance(value, Decimal | int)
        return self.number(value, unit) if is_shown else (None, self.style("gap"))

    # The sheets -------------------------------------------------------------------------------------------------------

    def summary(self) -> None:
        report, text = self.report, self.text
        sheet = _Sheet(self, "summary", (38, 15, 15, 15, 12, 17, 9))
        sheet.title(text["title"])
        last = last_day_of(report.month)
        sheet.write(
            [text["period"].format(first=report.month.isoformat(), last=last.isoformat())],
            self.style("plain", colour=_MUTED),
        )
        for notice in notices(report):
            sheet.note(notice, "notice")
        sheet.row += 1
        columns = text["columns"]
        head = sheet.head(
            [
                columns[key]
                for key in ("figure", "current", "previous", "difference", "growth", "fiscal", "kind")
            ]
        )
        sheet.sheet.freeze_panes(head + 1, 1)
        first = sheet.row
        for figure in report.figures:
            colour = {"good": _GOOD, "bad": _BAD}.get(tone(figure))
            sheet.write(
                [
                    (text["figures"][figure.key], self.style("cell")),
                    self.number(figure.current, figure.unit, bold=True),
                    self.number(figure.previous, figure.unit),
                    (difference_text(figure), self.style("cell", align="right", colour=colour)),
                    (growth_text(figure), self.style("cell", align="right", colour=colour)),
                    self.number(figure.fiscal, figure.fiscal_unit),
                    (
                        columns[figure.fiscal_kind],
                        self.style("cell", colour=_MUTED, align="center", size=9),
                    ),
                ],
                height=17,
            )
        rates = [number for number, figure in enumerate(report.figures) if figure.key == "error_rate"]
        for number in rates:
            self._mark_high(sheet, first + number, 1, first + number, 1)
        sheet.note(text["growth_note"], "note", size=8, colour=_MUTED)
        sheet.row += 1
        self._day_chart(sheet, "active", "users_active", "line", "users", 900)
        sheet.sheet.fit_to_pages(1, 1)
        sheet.end()

    def users(self, people: Iterable[Person]) -> None:
        report, text = self.report, self.text
        names = text["figures"]
        sheet = _Sheet(self, "users", (17, 29, 29, 17, 18))
        sheet.title(text["sheets"]["users"])
        self._day_chart(sheet, "active", "users_active", "line", "users", 690)
        self._day_chart(sheet, "logins", "logins", "column", "logins", 690)
        sheet.head(
            [
                text["date"],
                names["users_total"],
                text["charts"]["active"],
                names["users_new"],
                names["logins"],
            ]
        )
        assert sheet.row == _DAILY_FIRST_ROW
        for day in report.days:
            counts = (day.users_total, day.users_active, day.users_new, day.logins)
            sheet.write([self._day_cell(day.date), *(self.plotted(count, Unit.COUNT) for count in counts)])
        sheet.row += 1
        columns = text["people"]
        sheet.keep_together(_FIRST_PEOPLE, head=_TABLE_HEAD)
        sheet.heading(text["people_list"])
        head = sheet.head([columns[key] for key in ("code", "name", "department", "account", "last_login")])
        sheet.sheet.repeat_rows(head)
        count = 0
        cell, centre = self.style("cell"), self.style("cell", align="center")
        day_style = self.style("cell", number="yyyy-mm-dd", align="center")
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
            count += 1
        if count:
            sheet.sheet.autofilter(head, 0, sheet.row - 1, 4)
        else:
            sheet.write([text["no_people"]], self.style("plain", colour=_MUTED))
        sheet.end()

    def features(self) -> None:
        report, text = self.report, self.text
        names = text["figures"]
        sheet = _Sheet(self, "features", (17, 16, 14, 15, 16, 16, 16))
        sheet.title(text["sheets"]["features"])
        self._day_chart(sheet, "api", "api_calls", "column", "calls", 740)
        self._day_chart(sheet, "error_rate", "error_rate", "line", "percent", 740)
        keys = (
            "api_calls",
            "api_errors",
            "error_rate",
            "reports_generated",
            "notifications_sent",
            "skill_assessments",
        )
        head = sheet.head([text["date"], *(names[key] for key in keys)])
        sheet.sheet.set_row(head, 32)
        assert sheet.row == _DAILY_FIRST_ROW
        first = sheet.row
        for day in report.days:
            sheet.write(
                [
                    self._day_cell(day.date),
                    *(
                        self.plotted(getattr(day, key), Unit.PERCENT if key == "error_rate" else Unit.COUNT)
                        for key in keys
                    ),
                ]
            )
        self._mark_high(sheet, first, 3, sheet.row - 1, 3)
        sheet.sheet.conditional_format(
            first, 1, sheet.row - 1, 1, {"type": "data_bar", "bar_color": "#9FB3CC", "bar_solid": True}
        )
        sheet.end()

    def kpi(self) -> None:
        report, text = self.report, self.text
        names = text["figures"]
        sheet = _Sheet(self, "kpi", (14, 11, 14, 14, 12, 14, 13, 13, 13, 13), landscape=True)
        sheet.title(f"{text['sheets']['kpi']}　{text['fiscal_year'].format(year=report.fiscal_year)}")
        sheet.head([text["month"], text["days"], *(names[key] for key in MONTH_UNITS)], 32)
        first = sheet.row
        month_style = self.style("cell", number="yyyy-mm", align="center")
        for month in report.months:
            sheet.write(
                [
                    (month.month, month_style),
                    self.number(month.days, Unit.COUNT),
                    *(self.plotted(getattr(month, key), unit) for key, unit in MONTH_UNITS.items()),
                ]
            )
        last = sheet.row - 1
        self._mark_high(sheet, first, 6, last, 6)
        for column in (8, 9):
            sheet.sheet.conditional_format(
                first,
                column,
                last,
                column,
                {
                    "type": "3_color_scale",
                    "min_color": "#F8D7D3",
                    "mid_color": "#FFF4D6",
                    "max_color": "#CFE9DA",
                }
                | {f"{end}_type": "num" for end in ("min", "mid", "max")}
                | {"min_value": 0, "mid_value": 50, "max_value": 100},
            )
        if any(month.has_hidden for month in report.months):
            sheet.note(text["hidden_months"], "note", size=8, colour=_MUTED)
        sheet.row += 1
        place = sheet.chart_room(_MONTHLY_CHART_HEIGHT)
        users = self._chart("column", text["charts"]["kpi_users"], "month", "users", legend=False)
        users.add_series(
            self._series(sheet, first, last, 3, names["users_active"], report.colour, filled=True)
        )
        self._insert(sheet, place, 0, users, (480, _MONTHLY_CHART_HEIGHT))
        rates = self._chart("line", text["charts"]["kpi_rates"], "month", "percent", legend=True)
        for column, key, colour in ((8, "coverage_rate", report.colour), (9, "goal_rate", "#E08E0B")):
            rates.add_series(self._series(sheet, first, last, column, names[key], colour))
        self._insert(sheet, place, 5, rates, (480, _MONTHLY_CHART_HEIGHT))
        sheet.end()

    def skills(self) -> None:
        report, text = self.report, self.text
        sheet = _Sheet(self, "skills", (30, 15, 11, 11, 10, 10, 10, 10, 11))
        sheet.title(text["sheets"]["skills"])
        keys = ("skill_records", "mean_level", "coverage_rate", "goal_rate", "certificates_held")
        for key in keys:
            figure = report.figure(key)
            sheet.write(
                [
                    (text["figures"][key], self.style("cell")),
                    self.number(figure.current, figure.unit, bold=True),
                ]
            )
        sheet.row += 1
        for dimension, groups in (("category", report.categories), ("department", report.departments)):
            self._group_table(sheet, dimension, groups)
        sheet.note(text["privacy"], "note", size=8, colour=_MUTED)
        sheet.row += 1
        self._status_table(sheet, "goals", [(text["goals"][key], count) for key, count in report.goals])
        self._status_table(
            sheet,
            "certificates",
            [(name, report.figure(key).current) for key, name in text["certificates"].items()],
        )
        sheet.end()

    def definitions(self) -> None:
        text = self.text
        sheet = _Sheet(self, "definitions", (38, 82))
        sheet.title(text["sheets"]["definitions"])
        sheet.write([text["definition_intro"]], self.style("plain"))
        sheet.row += 1
        head = sheet.head([text["columns"]["figure"], text["definition"]])
        sheet.sheet.repeat_rows(head)
        rows = [(text["figures"][key], definition) for key, definition in text["definitions"].items()]
        rows.append((text["columns"]["fiscal"], text["fiscal_definition"]))
        rows += [("", text["growth_note"]), ("", text["privacy"])]
        for row in rows:
            sheet.write(row, self.style("wrap"), 15 * max(2, _lines(row[1], sheet.widths[1])))
        sheet.end()

    # Their parts ------------------------------------------------------------------------------------------------------

    def _day_cell(self, day: date) -> tuple[Any, Any]:
        # With its language, so that any spreadsheet program in any language shows the same.
        pattern = "[$-411]m/d (aaa)" if self.report.language == "ja" else "[$-409]d mmm (ddd)"
        return day, self.style("cell", number=pattern, align="center")

    def _day_chart(
        self, sheet: _Sheet, chart: str, column_key: str, kind: str, axis: str, width: int
    ) -> None:
        """A chart of a daily column; the rows that it shows are on the sheet whose table has them."""
        where = {
            "users_active": ("users", 2),
            "logins": ("users", 4),
            "api_calls": ("features", 1),
            "error_rate": ("features", 3),
        }
        source, column = where[column_key]
        first = _DAILY_FIRST_ROW
        made = self._chart(kind, self.text["charts"][chart], "day", axis, legend=False)
        series = self._series(
            sheet,
            first,
            first + len(self.report.days) - 1,
            column,
            self.text["charts"][chart],
            self.report.colour,
            filled=kind == "column",
            source=self.text["sheets"][source],
        )
        made.add_series(series)
        self._insert(sheet, sheet.chart_room(_DAILY_CHART_HEIGHT), 0, made, (width, _DAILY_CHART_HEIGHT))

    def _chart(self, kind: str, title: str, x_axis: str, y_axis: str, *, legend: bool) -> Any:
        font = {"name": self.font, "size": 9, "color": "#374151"}
        chart = self.workbook.add_chart({"type": kind})
        chart.set_title({"name": title, "name_font": {**font, "size": 11, "bold": True}, "overlay": False})
        labels = self.text["axes"]
        number_format = {"day": "d", "month": "m"}.get(x_axis, "General")
        chart.set_x_axis(
            {
                "name": labels[x_axis],
                "name_font": font,
                "num_font": font,
                "num_format": number_format,
                "text_axis": True,
                "line": {"color": _LINE},
            }
        )
        chart.set_y_axis(
            {
                "name": labels[y_axis],
                "name_font": font,
                "num_font": font,
                "min": 0,
                "major_gridlines": {"visible": True, "line": {"color": "#E5E7EB"}},
                "line": {"none": True},
            }
        )
        chart.set_legend({"position": "bottom", "font": font} if legend else {"none": True})
        chart.set_chartarea({"border": {"color": _LINE}})
        chart.show_na_as_empty_cell()
        return chart

    def _series(
        self,
        sheet: _Sheet,
        first: int,
        last: int,
        column: int,
        name: str,
        colour: str,
        *,
        filled: bool = False,
        source: str | None = None,
    ) -> dict[str, Any]:
        tab = source or sheet.name
        series: dict[str, Any] = {
            "name": name,
            "categories": [tab, first, 0, last, 0],
            "values": [tab, first, column, last, column],
        }
        if filled:
            return series | {"fill": {"color": colour}, "gap": 60}
        marker = {"type": "circle", "size": 4, "fill": {"color": colour}, "border": {"color": colour}}
        return series | {"line": {"color": colour, "width": 2}, "marker": marker}

    def _insert(self, sheet: _Sheet, row: int, column: int, chart: Any, size: tuple[int, int]) -> None:
        chart.set_size({"width": size[0], "height": size[1]})
        sheet.sheet.insert_chart(row, column, chart, {"x_offset": 4, "y_offset": 4, "description": ""})

    def _group_table(self, sheet: _Sheet, dimension: str, groups: Sequence[SkillGroup]) -> None:
        text, columns = self.text, self.text["skills"]
        plural = {"category": "categories", "department": "departments"}[dimension]
        charts = list(_charted(groups))
        first_chart = _group_chart_height(len(charts[0])) if charts else 0
        sheet.keep_together(len(groups), head=_TABLE_HEAD, chart=first_chart)
        sheet.heading(text[plural])
        if not groups:
            sheet.write([text["no_groups"]], self.style("plain", colour=_MUTED))
            sheet.row += 1
            return
        levels = [columns["level"].format(number=number) for number in range(1, 5)] + [columns["level_5"]]
        sheet.head([columns[dimension], columns["people"], columns["records"], columns["mean"], *levels], 32)
        first = sheet.row
        for group in groups:
            sheet.write(
                [
                    (group_name(group, dimension, self.report.language), self.style("cell")),
                    self.number(group.people, Unit.COUNT),
                    self.number(group.records, Unit.COUNT),
                    self.number(group.mean_level, Unit.LEVEL),
                    *(self.number(count, Unit.COUNT) for count in group.levels),
                ]
            )
        sheet.sheet.conditional_format(
            first,
            3,
            sheet.row - 1,
            3,
            {
                "type": "data_bar",
                "bar_color": "#9FB3CC",
                "bar_solid": True,
                "min_type": "num",
                "min_value": 0,
            },
        )
        sheet.row += 1
        title, axis = text["charts"][plural], columns[dimension]
        for number, part in enumerate(charts, 1):
            height = _group_chart_height(len(part))
            sheet.keep_together(chart=height)
            chart = self._level_chart(
                sheet,
                (first, first + len(part) - 1),
                levels,
                f"{title} ({number}/{len(charts)})" if len(charts) > 1 else title,
                axis,
            )
            self._insert(sheet, sheet.chart_room(height), 0, chart, (820, height))
            first += len(part)

    def _level_chart(
        self, sheet: _Sheet, rows: tuple[int, int], levels: Sequence[str], title: str, axis: str
    ) -> Any:
        """How the levels divide each group; ``rows`` are the first and the last of the groups' table."""
        chart = self.workbook.add_chart({"type": "bar", "subtype": "percent_stacked"})
        font = {"name": self.font, "size": 9, "color": "#374151"}
        for number, (level, colour) in enumerate(zip(levels, LEVEL_COLOURS, strict=True)):
            chart.add_series(self._series(sheet, *rows, 4 + number, level, colour, filled=True))
        chart.set_title({"name": title, "name_font": {**font, "size": 11, "bold": True}})
        chart.set_x_axis(
            {
                "name": self.text["axes"]["share"],
                "name_font": font,
                "num_font": font,
                "num_format": "0%",
                "major_gridlines": {"visible": True, "line": {"color": "#E5E7EB"}},
            }
        )
        # Every group is named, however low its bar is.
        chart.set_y_axis(
            {"name": axis, "name_font": font, "num_font": font, "reverse": True, "interval_unit": 1}
        )
        chart.set_legend({"position": "bottom", "font": font})
        chart.set_chartarea({"border": {"color": _LINE}})
        return chart

    def _status_table(self, sheet: _Sheet, chart_key: str, rows: Sequence[tuple[str, Any]]) -> None:
        title = self.text["charts"][chart_key]
        sheet.keep_together(len(rows), head=_TABLE_HEAD, chart=_STATUS_CHART_HEIGHT)
        sheet.heading(title)
        first = sheet.row
        for name, count in rows:
            sheet.write([(name, self.style("cell")), self.number(count, Unit.COUNT)])
        chart = self.workbook.add_chart({"type": "bar"})
        font = {"name": self.font, "size": 9, "color": "#374151"}
        chart.add_series(
            self._series(sheet, first, sheet.row - 1, 1, title, self.report.colour, filled=True)
            | {"data_labels": {"value": True, "font": font}}
        )
        chart.set_title({"name": title, "name_font": {**font, "size": 11, "bold": True}})
        axis = {"num_font": font, "name_font": font}
        chart.set_x_axis(axis | {"name": self.text["axes"]["number"], "major_gridlines": {"visible": False}})
        chart.set_y_axis(axis | {"name": self.text["axes"]["status"], "reverse": True})
        chart.set_legend({"none": True})
        chart.set_chartarea({"border": {"color": _LINE}})
        sheet.row += 1
        self._insert(sheet, sheet.chart_room(_STATUS_CHART_HEIGHT), 0, chart, (620, _STATUS_CHART_HEIGHT))

    def _mark_high(
        self, sheet: _Sheet, first_row: int, first_column: int, last_row: int, last_column: int
    ) -> None:
        cell = f"{xl_col_to_name(first_column)}{first_row + 1}"
        sheet.sheet.conditional_format(
            first_row,
            first_column,
            last_row,
            last_column,
            {
                "type": "formula",
                "criteria": f"=AND(ISNUMBER({cell}),{cell}>{_HIGH_ERROR_RATE})",
                "format": self.workbook.add_format({"bg_color": "#F8D7D3", "font_color": _BAD}),
            },
        )
