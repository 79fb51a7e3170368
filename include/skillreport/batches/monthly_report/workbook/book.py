"""The workbook, with cached cell styles."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.batches.monthly_report.figures import FigureUnit, NotShown, Shown
from include.skillreport.batches.monthly_report.report import MonthlyReport
from include.skillreport.batches.monthly_report.wording import value_text, words
from include.skillreport.batches.monthly_report.workbook.styles import (
    CELL_KINDS,
    JAPANESE_FONT,
    LATIN_FONT,
    MUTED,
    NUMBER_FORMATS,
)


class Book:
    """An open workbook, the report to write, and the words of its language. A cell is a pair (value, style)."""

    def __init__(self, workbook: Any, report: MonthlyReport) -> None:
        self.workbook, self.report = workbook, report
        self.text = words(report.language)
        self.font = JAPANESE_FONT if report.language == "ja" else LATIN_FONT
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
        """The format for a kind of ``CELL_KINDS``. Equal arguments give the same format."""
        key = (kind, size, bold, colour, number, align)
        if key not in self._styles:
            properties = {"font_name": self.font, "font_size": size, "bold": bold, "valign": "vcenter"}
            properties |= CELL_KINDS[kind]
            if kind == "band":
                properties["bg_color"] = self.report.colour
            overrides = {"font_color": colour, "num_format": number, "align": align}
            properties |= {name: value for name, value in overrides.items() if value}
            self._styles[key] = self.workbook.add_format(properties)
        return self._styles[key]

    def number(self, value: Shown | int, unit: FigureUnit, **style: Any) -> tuple[Any, Any]:
        """A cell with the number, or the reason why none is shown."""
        if value is None or isinstance(value, NotShown):
            size = 8 if value is NotShown.FEW_PEOPLE else 10
            text = value_text(value, unit, self.report.language)
            return text, self.style("cell", size=size, align="right", colour=MUTED)
        return value, self.style("cell", number=NUMBER_FORMATS[unit], **style)

    def plotted(self, value: Shown | int, unit: FigureUnit) -> tuple[Any, Any]:
        """A cell that a chart plots; empty without a number, because charts plot a text as 0."""
        is_shown = isinstance(value, Decimal | int)
        return self.number(value, unit) if is_shown else (None, self.style("gap"))

    def day_cell(self, day: date) -> tuple[Any, Any]:
        """A cell with a day of the month. The format contains its language, so that every program shows the same text."""
        pattern = "[$-411]m/d (aaa)" if self.report.language == "ja" else "[$-409]d mmm (ddd)"
        return day, self.style("cell", number=pattern, align="center")
