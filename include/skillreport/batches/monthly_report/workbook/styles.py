"""Colours, fonts, number formats and cell styles of the workbook."""

from __future__ import annotations

from typing import Any

from include.skillreport.batches.monthly_report.figures import FigureUnit

LATIN_FONT, JAPANESE_FONT = "Calibri", "Yu Gothic"
# The width of a font's digit in pixels. Column widths are measured in digits.
DIGIT_PIXELS = {LATIN_FONT: 7, JAPANESE_FONT: 8}
# Column widths count digits of this font size.
DEFAULT_FONT_SIZE = 11

GOOD, BAD, MUTED, LINE = "#1B7F4B", "#C0392B", "#6B7280", "#D5DAE1"
ALARM_FILL, WARNING_FILL, SUCCESS_FILL = "#F8D7D3", "#FFF4D6", "#CFE9DA"
BAR = "#9FB3CC"
LEVEL_COLOURS = ("#C9D3E0", BAR, "#6F8DB3", "#41689A", "#1F4273")

NUMBER_FORMATS = {
    FigureUnit.COUNT: "#,##0",
    FigureUnit.MEAN: "#,##0.0",
    FigureUnit.LEVEL: "0.00",
    FigureUnit.PERCENT: '0.0" %"',
    FigureUnit.HOURS: '#,##0.0" h"',
    FigureUnit.MEGABYTES: '#,##0.0" MB"',
}

_UNDERLINED = {"bottom": 1, "bottom_color": LINE}

# XlsxWriter's properties of each kind of cell, without the report's font and colour.
CELL_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "band": {"font_color": "#FFFFFF", "indent": 1},
    "head": _UNDERLINED | {"bg_color": "#E8ECF2", "bold": True, "align": "center", "text_wrap": True},
    "cell": _UNDERLINED,
    "gap": _UNDERLINED | {"bg_color": "#F1F2F4"},
    "wrap": _UNDERLINED | {"text_wrap": True, "valign": "top"},
    "note": {"text_wrap": True, "valign": "top"},
    "notice": {
        "bg_color": WARNING_FILL,
        "font_color": "#7A5200",
        "text_wrap": True,
        "left": 5,
        "left_color": "#E0A100",
    },
}
