"""The first sheet, with all figures of the month, and the last sheet, with their definitions."""

from __future__ import annotations

from include.skillreport.batches.monthly_report.report import last_day_of
from include.skillreport.batches.monthly_report.wording import difference_text, growth_text, notices, tone
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.charts import day_chart
from include.skillreport.batches.monthly_report.workbook.sheet import Sheet, count_lines
from include.skillreport.batches.monthly_report.workbook.styles import BAD, GOOD, MUTED


def write_summary(book: Book) -> None:
    """Notices, the table of all figures, and a chart of the active users."""
    report, text = book.report, book.text
    # Without a previous month, no comparison. The sheet keeps its width for the chart.
    comparison = ("previous", "difference", "growth") if report.has_previous else ()
    widths = (38, 15, 15, 15, 12, 17, 9) if comparison else (60, 26, 26, 9)
    sheet = Sheet(book, "summary", widths)
    sheet.title(text["title"])
    last = last_day_of(report.month)
    sheet.write(
        [text["period"].format(first=report.month.isoformat(), last=last.isoformat())],
        book.style("plain", colour=MUTED),
    )
    for notice in notices(report):
        sheet.note(notice, "notice")
    sheet.row += 1
    columns = text["columns"]
    sheet.head(
        [columns[key] for key in ("figure", "current", *comparison, "fiscal", "kind")], freezes_columns=1
    )
    first = sheet.row
    for figure in report.figures:
        colour = {"good": GOOD, "bad": BAD}.get(tone(figure))
        compared = [
            book.number(figure.previous, figure.unit),
            (difference_text(figure), book.style("cell", align="right", colour=colour)),
            (growth_text(figure), book.style("cell", align="right", colour=colour)),
        ]
        sheet.write(
            [
                (text["figures"][figure.key], book.style("cell")),
                book.number(figure.current, figure.unit, bold=True),
                *(compared if comparison else ()),
                book.number(figure.fiscal, figure.fiscal_unit),
                (columns[figure.fiscal_kind], book.style("cell", colour=MUTED, align="center", size=9)),
            ],
            height=17,
        )
    rate_row = first + [figure.key for figure in report.figures].index("error_rate")
    sheet.highlight_high_rates(rate_row, rate_row, 1)
    if comparison:
        sheet.note(text["growth_note"], "note", size=8, colour=MUTED)
    sheet.row += 1
    day_chart(sheet, "active", "users_active", "line", "users", 900)
    sheet.worksheet.fit_to_pages(1, 1)
    sheet.end()


def write_definitions(book: Book) -> None:
    """What each figure counts."""
    text = book.text
    sheet = Sheet(book, "definitions", (38, 82))
    sheet.title(text["sheets"]["definitions"])
    sheet.write([text["definition_intro"]], book.style("plain"))
    sheet.row += 1
    head = sheet.head([text["columns"]["figure"], text["definition"]], freezes_columns=0)
    sheet.worksheet.repeat_rows(head)
    rows = [(text["figures"][key], definition) for key, definition in text["definitions"].items()]
    rows.append((text["columns"]["fiscal"], text["fiscal_definition"]))
    rows += [("", text["growth_note"]), ("", text["privacy"])]
    for row in rows:
        sheet.write(row, book.style("wrap"), 15 * max(2, count_lines(row[1], sheet.widths[1])))
    sheet.end()
