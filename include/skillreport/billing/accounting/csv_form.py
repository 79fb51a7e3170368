"""The common part of the accountant's CSV files: cells, encodings, and one pass over the entries that writes all files."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, NamedTuple

from include.skillreport.billing.accounting.entries import BookEntry
from include.skillreport.billing.money import YEN

# Spreadsheet programs read a cell that begins with one of these as a formula. Japanese programs also accept the full-width signs.
_FORMULA_STARTS = tuple("=+-@＝＋－＠")

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")

# Japanese programs print this character for a character that an encoding does not contain.
_MISSING_CHARACTER = "〓"

codecs.register_error("geta", lambda error: (_MISSING_CHARACTER, error.end))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class CsvForm:
    """A CSV file of a month, ``<name>-2026-11.csv``.

    ``rows`` makes the rows of an entry from the entry and its number (from 1) in the file. ``yen`` returns the amount that a row adds to
    the receivables. ``lists_all``: void documents and totals of 0 are also listed. A character that ``encoding`` does not have becomes 〓.
    """

    name: str
    columns: tuple[str, ...]
    encoding: str
    line_end: str
    rows: Callable[[BookEntry, int], Iterable[Sequence[str]]]
    yen: Callable[[Mapping[str, str]], int]
    lists_all: bool = False


class FileTally(NamedTuple):
    """The rows of a file without its header, and the sum of the receivables in yen."""

    rows: int
    yen: int


def write_forms(forms: Sequence[tuple[CsvForm, IO[bytes]]], entries: Iterable[BookEntry]) -> list[FileTally]:
    """Write the entries in all forms. Returns the rows and the yen of each.

    The entries are read once, one by one. The streams remain open.
    """
    with ExitStack() as stack:
        outputs = [_Output(form, stream) for form, stream in forms]
        for output in outputs:
            stack.callback(output.detach)
        for entry in entries:
            for output in outputs:
                output.add(entry)
    return [output.tally for output in outputs]


class _Output:
    def __init__(self, form: CsvForm, stream: IO[bytes]) -> None:
        self.form = form
        self.tally = FileTally(0, 0)
        self._entries = 0
        self._text = TextIOWrapper(stream, encoding=form.encoding, errors="geta", newline="")
        self._writer = csv.writer(self._text, lineterminator=form.line_end)
        self._writer.writerow(form.columns)

    def add(self, entry: BookEntry) -> None:
        if not (entry.is_booked or self.form.lists_all):
            return
        self._entries += 1
        for row in self.form.rows(entry, self._entries):
            self._writer.writerow(map(_guarded, row))
            yen = self.form.yen(dict(zip(self.form.columns, row, strict=True)))
            self.tally = FileTally(self.tally.rows + 1, self.tally.yen + yen)

    def detach(self) -> None:
        self._text.detach()


def text_cell(value: str | None) -> str:
    """A one-line text, with an apostrophe if it would start a formula."""
    text = code_cell(value)
    return f"'{text}" if text.lstrip(" 　").startswith(_FORMULA_STARTS) else text


def _guarded(cell: str) -> str:
    """A cell of an import. A number (an amount, or a code such as ``-0042``) is unchanged, because the import compares it."""
    return cell if _NUMBER.fullmatch(cell) else text_cell(cell)


def code_cell(value: str | None) -> str:
    """A code in one line. ``write_forms`` guards it if it would start a formula and is no number."""
    return _LINE_BREAKS.sub(" ", value or "").strip()


def slashed(day: date | None) -> str:
    """2026/11/01, the format of both vendors."""
    return "" if day is None else f"{day:%Y/%m/%d}"


def yen(amount: Decimal) -> str:
    """Whole yen without separators."""
    return f"{amount:.0f}"


def summary(entry: BookEntry) -> str:
    """摘要: number, customer, and month or the receipt's method and reference. For a foreign entry also amount, currency, and rate with its
    date. The entry's remark comes last.
    """
    invoice = entry.invoice
    parts = [
        entry.label,
        code_cell(invoice.number),
        code_cell(invoice.recipient.name)[:100],
        receipt_text(entry)[:50] or f"{invoice.period_start:%Y年%-m月}分",
        f"（{code_cell(invoice.original_number)} の返還）" if invoice.original_number else "",
    ]
    if invoice.currency != YEN:
        dated = f"（{entry.known_rate.rate_date}）" if entry.known_rate else ""
        parts.append(f"{invoice.currency} {entry.amount:f} @{entry.rate:f}{dated}")
    if entry.remark:
        parts.append(f"（{entry.remark}）")
    return " ".join(part for part in parts if part)


def receipt_text(entry: BookEntry) -> str:
    """Method and reference of a receipt; empty for other entries."""
    receipt = entry.receipt
    return f"{code_cell(receipt.method)} {code_cell(receipt.reference)}" if receipt else ""
