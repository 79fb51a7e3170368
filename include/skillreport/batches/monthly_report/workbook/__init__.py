"""The report as an Excel workbook with native charts. Nothing is calculated here, and no text becomes a formula or a link."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import IO

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from include.skillreport.batches.monthly_report.report import MonthlyReport, last_day_of
from include.skillreport.batches.monthly_report.wording import words
from include.skillreport.batches.monthly_report.workbook.book import Book
from include.skillreport.batches.monthly_report.workbook.days import Person, write_features, write_users
from include.skillreport.batches.monthly_report.workbook.fiscal_year import write_fiscal_year
from include.skillreport.batches.monthly_report.workbook.skills import write_skills
from include.skillreport.batches.monthly_report.workbook.summary import write_definitions, write_summary
from include.skillreport.core.written_dates import month_in_words

__all__ = ["Person", "write_workbook"]


def write_workbook(
    report: MonthlyReport, people: Iterable[Person], stream: IO[bytes], temporary_folder: str
) -> None:
    """Write the workbook. Equal reports and people give equal bytes. People are read one by one, for constant memory.

    ``temporary_folder`` takes the rows until the end. They contain people's names.
    """
    workbook = xlsxwriter.Workbook(
        stream,
        {
            # XlsxWriter writes each row to disk at once, so each sheet must be written from top to bottom.
            "constant_memory": True,
            "tmpdir": temporary_folder,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd",
        },
    )
    workbook.set_properties(
        {
            "title": f"{words(report.language)['title']} {month_in_words(report.month, report.language)}",
            "author": "",
            # The day after the month, so that the bytes do not depend on the time of writing.
            "created": datetime.combine(last_day_of(report.month) + timedelta(days=1), time()),
        }
    )
    try:
        book = Book(workbook, report)
        write_summary(book)
        write_users(book, people)
        write_features(book)
        write_fiscal_year(book)
        write_skills(book)
        write_definitions(book)
    finally:
        _close(workbook)


def _close(workbook: xlsxwriter.Workbook) -> None:
    """Close the workbook. :raises OSError: a file cannot be written; XlsxWriter hides it in an error of its own."""
    try:
        workbook.close()
    except FileCreateError as error:
        raise error.args[0] from None
