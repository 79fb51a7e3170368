"""The common part of the readers of payment files: CSV rows, days and amounts in the spellings of banks and spreadsheets, and errors."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import StringIO

from include.skillreport.core.entered import entered_number
from include.skillreport.core.errors import ParameterError

# A message lists this many problems by default, and counts the others.
_LISTED = 10

_DAY = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?")

_SIX_DIGITS = re.compile("[0-9]{6}")
_REIWA = 2018  # the year before 令和 1

# A yen sign before the amount. In Shift_JIS, it is the byte of the backslash.
_YEN_SIGN = re.compile(r"^[¥\\] ?| ?円$")


@dataclass(frozen=True)
class CellProblem:
    """An unusable value. ``unit`` says what ``line`` counts, from 1."""

    line: int
    column: str
    text: str
    unit: str = "行目"

    def __str__(self) -> str:
        return f"{self.line} {self.unit}「{self.column}」: {self.text}"


def unusable(file: str, problems: Sequence[CellProblem], most: int = _LISTED) -> ParameterError:
    """The error that lists ``most`` problems of ``file`` (its kind, and its name in quotation marks)."""
    listed = "。".join(map(str, problems[:most]))
    more = len(problems) - most
    return ParameterError(
        f"{file} は取り込めません（何も記録していません）。{listed}。"
        + (f"ほか {more} 件。" if more > 0 else "")
    )


def csv_rows(content: bytes, file: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with their last lines, from 1. Cells have no surrounding blanks. An empty line is a row without cells.

    The text is UTF-8, with or without BOM, Shift_JIS (cp932), or UTF-16 with BOM. Commas separate the columns, or tabs as in Excel's
    Unicode text.

    :raises ParameterError: the file is no such text, or has a wrong quotation mark.
    """
    text = _text(content, file)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ParameterError(
            f"{file} の {reader.line_num} 行目を CSV として読めません（{error}）。引用符を直してください。"
        ) from None


def yen_in(text: str) -> Decimal | None:
    """The amount in a text such as ¥11,000 or 11,000円, or None."""
    return entered_number(_YEN_SIGN.sub("", text))


def day_in(text: str) -> date | None:
    """The day in a text such as 2026-11-30, 2026/11/30, 2026.11.30 or 2026年11月30日, or None."""
    match = _DAY.fullmatch(text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def reiwa_day_in(text: str) -> date | None:
    """The day in six digits of 令和 year, month and day (081127 is 27 November 2026), or None."""
    try:
        year, month, day = (int(text[at : at + 2]) for at in (0, 2, 4))
        return date(_REIWA + year, month, day) if _SIX_DIGITS.fullmatch(text) and year else None
    except ValueError:
        return None


def _text(content: bytes, file: str) -> str:
    has_utf16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if has_utf16_mark else ("utf-8-sig", "cp932"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ParameterError(
        f"{file} の文字コードが分かりません。UTF-8、Shift_JIS、UTF-16 のどれかで保存してください。"
    )
