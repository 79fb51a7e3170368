"""A worksheet that is written row by row and printed on A4."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from math import ceil
from typing import Any

from xlsxwriter.utility import xl_col_to_name

from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.styles import (
    ALARM_FILL,
    BAD,
    DEFAULT_FONT_SIZE,
    DIGIT_PIXELS,
    JAPANESE_FONT,
)
from include.skillreport.core.written_dates import month_in_words

_A4 = 9
# The paper and its margins in inches.
_PAPER_WIDTH, _PAPER_HEIGHT = 8.27, 11.69
_SIDE_MARGIN, _TOP_MARGIN, _BOTTOM_MARGIN = 0.5, 0.6, 0.7
# The maximum filled share of a page, because programs round the scale to whole percents.
_FILLED = 0.97
# The height of a row in points and pixels. Otherwise each program chooses it by its available font.
_ROW_HEIGHT, _ROW_PIXELS = 15, 20
_POINTS_PER_INCH, _PIXELS_PER_INCH = 72, 96

# The height in points of a table's heading, its head and the empty row before its chart.
TABLE_HEAD_HEIGHT = 22 + 32 + _ROW_HEIGHT

# An error rate above this percentage is highlighted.
_HIGH_ERROR_RATE = 5

# XlsxWriter cuts off longer texts.
_LONGEST_TEXT = 32_767


def rows_under(pixels: int) -> int:
    """The rows that a chart of this height covers, plus one empty row."""
    return ceil(pixels / _ROW_PIXELS) + 1


def count_lines(text: str, width: float) -> int:
    """The number of lines of a text in a cell of this width in digits. A Japanese character is as wide as two digits."""
    needed = sum(1 if character.isascii() else 2 for character in text)
    # Lines break before they are full.
    return ceil(needed * 1.1 / width)


class Sheet:
    """A worksheet; ``row`` is the next row to write, ``worksheet`` XlsxWriter's object."""

    def __init__(self, book: Book, key: str, widths: Sequence[float], *, landscape: bool = False) -> None:
        self.book = book
        self.name = book.text["sheets"][key]
        self.worksheet = book.workbook.add_worksheet(self.name)
        self.row = 0
        self.columns = len(widths)
        self._heights: dict[int, float] = {}
        self._breaks: list[int] = []
        paper = (_PAPER_HEIGHT, _PAPER_WIDTH) if landscape else (_PAPER_WIDTH, _PAPER_HEIGHT)
        # Widths are in digits of the Japanese font, so that a sheet is equally wide in both languages. A column has 5 pixels of padding.
        digit = DIGIT_PIXELS[JAPANESE_FONT]
        self.widths = [width * digit / DIGIT_PIXELS[book.font] for width in widths]
        inches = sum(digit * width + 5 for width in widths) / _PIXELS_PER_INCH
        scale = min(1, (paper[0] - 2 * _SIDE_MARGIN) / inches)
        height = paper[1] - _TOP_MARGIN - _BOTTOM_MARGIN
        self._page_height = height * _POINTS_PER_INCH / scale * _FILLED
        self.worksheet.set_default_row(_ROW_HEIGHT)
        for column, width in enumerate(self.widths):
            self.worksheet.set_column(column, column, width)
        self.worksheet.hide_gridlines(2)
        self.worksheet.set_paper(_A4)
        if landscape:
            self.worksheet.set_landscape()
        self.worksheet.set_margins(_SIDE_MARGIN, _SIDE_MARGIN, _TOP_MARGIN, _BOTTOM_MARGIN)
        self.worksheet.fit_to_pages(1, 0)
        self.worksheet.center_horizontally()
        self.worksheet.set_footer("&L&8&A&R&8&P / &N")
        self.worksheet.set_tab_color(book.report.colour)

    def write(self, values: Sequence[Any], style: Any = None, height: float | None = None) -> int:
        """Write a row of texts, numbers, dates or (value, style) pairs; None leaves a cell empty. Returns the row's number."""
        if height:
            self.worksheet.set_row(self.row, height)
            self._heights[self.row] = height
        for column, entry in enumerate(values):
            value, cell_style = entry if isinstance(entry, tuple) else (entry, style)
            if value is None:
                self.worksheet.write_blank(self.row, column, None, cell_style)
            elif isinstance(value, str):
                self.worksheet.write_string(self.row, column, value[:_LONGEST_TEXT], cell_style)
            elif isinstance(value, date):
                self.worksheet.write_datetime(self.row, column, datetime.combine(value, time()), cell_style)
            else:
                self.worksheet.write_number(self.row, column, float(value), cell_style)
        self.row += 1
        return self.row - 1

    def title(self, heading: str) -> None:
        """Write the heading with tenant and month, which stays in view."""
        report = self.book.report
        blank = [""] * (self.columns - 1)
        self.write([heading, *blank], self.book.style("band", size=16, bold=True), 30)
        subtitle = f"{report.tenant_name}　{month_in_words(report.month, report.language)}"
        self.write([subtitle, *blank], self.book.style("band", size=10), 18)
        self.worksheet.freeze_panes(self.row, 0)
        self.row += 1

    def note(self, text: str, kind: str, *, size: float = 10, **style: Any) -> None:
        """Write a text across the sheet, in as many lines as it needs."""
        note_style = self.book.style(kind, size=size, **style)
        self.worksheet.merge_range(self.row, 0, self.row, self.columns - 1, "", note_style)
        lines = count_lines(text, sum(self.widths) * DEFAULT_FONT_SIZE / size)
        self.write([text], note_style, 6 + 1.5 * size * lines)

    def heading(self, text: str) -> None:
        self.write([text], self.book.style("plain", size=12, bold=True, colour=self.book.report.colour), 22)

    def head(self, texts: Sequence[str], height: float = 20, *, freezes_columns: int | None = None) -> int:
        """Write a table's head. Returns its row. ``freezes_columns``: the head and this many columns stay in view."""
        if freezes_columns is not None:
            self.worksheet.freeze_panes(self.row + 1, freezes_columns)
        return self.write(texts, self.book.style("head"), height)

    def reserve_rows(self, pixels: int) -> int:
        """Reserve rows for a chart of this height. Returns the first row."""
        row = self.row
        self.row += rows_under(pixels)
        return row

    def keep_together(self, rows: int = 0, *, head: float = 0, chart: int = 0) -> None:
        """Begin a new printed page if this one has no room for these rows and their chart, so that no page cuts a chart.

        ``head`` is the height above the rows in points, ``chart`` the chart's height in pixels.
        """
        points = head + (rows + (rows_under(chart) if chart else 0)) * _ROW_HEIGHT
        page_begins = self._breaks[-1] if self._breaks else 0
        used = sum(self._heights.get(row, _ROW_HEIGHT) for row in range(page_begins, self.row))
        if used and used + points > self._page_height:
            self._breaks.append(self.row)

    def highlight_high_rates(self, first: int, last: int, column: int) -> None:
        """Highlight high error rates in these rows of a column."""
        cell = f"{xl_col_to_name(column)}{first + 1}"
        self.worksheet.conditional_format(
            first,
            column,
            last,
            column,
            {
                "type": "formula",
                "criteria": f"=AND(ISNUMBER({cell}),{cell}>{_HIGH_ERROR_RATE})",
                "format": self.book.workbook.add_format({"bg_color": ALARM_FILL, "font_color": BAD}),
            },
        )

    def end(self) -> None:
        """Set the page breaks and the print area."""
        self.worksheet.set_h_pagebreaks(self._breaks)
        self.worksheet.print_area(0, 0, max(self.row - 1, 0), self.columns - 1)
