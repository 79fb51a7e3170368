"""The CSV file of payments that the accountant puts into the object store. Pure: bytes in, payments out.

The header is 請求書番号,入金日,金額,通貨,方法,参照番号. The text is UTF-8, with or without BOM, Shift_JIS (cp932), or UTF-16 with BOM.
The columns are separated by commas, or by tabs as in Excel's Unicode text. A day is 2026-11-30, 2026/11/30 or 2026年11月30日 (Asia/Tokyo).
An amount may have commas, and in yen a yen sign or 円. Full-width digits count as the usual ones.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import StringIO

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import YEN, entered_number
from include.skillreport.billing.receivables.payment import (
    Payable,
    Payment,
    require_acceptable,
    require_same,
    require_unpaid_in_application,
)
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.digest import one_line

PAYMENT_COLUMNS = ("請求書番号", "入金日", "金額", "通貨", "方法", "参照番号")

# The column that each error of require_acceptable and require_same refers to.
_COLUMN_OF = {
    "NO_SUCH_INVOICE": "請求書番号",
    "NOT_PAYABLE": "請求書番号",
    "PAID_IN_APPLICATION": "請求書番号",
    "WRONG_CURRENCY": "通貨",
    "UNKNOWN_CURRENCY": "通貨",
    "WRONG_AMOUNT": "金額",
    "WRONG_DAY": "入金日",
    "REFERENCE_TAKEN": "参照番号",
}

# A message names this many problems and counts the others.
_LISTED = 10

_DAY = re.compile(r"([0-9]{4})[-/年]([0-9]{1,2})[-/月]([0-9]{1,2})日?")

# A yen sign before the amount. In Shift_JIS, it is the byte of the backslash.
_YEN_SIGN = re.compile(r"^[¥\\] ?| ?円$")


@dataclass(frozen=True)
class FileRow:
    """A payment and the last line of its row in the file; the header is line 1."""

    line: int
    payment: Payment


@dataclass(frozen=True)
class _Problem:
    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"{self.line} 行目「{self.column}」: {self.text}"


def parse_payments(content: bytes, name: str) -> list[FileRow]:
    """The payments of the file ``name``, in order. Empty lines are skipped.

    :raises ParameterError: names all lines and columns that cannot be read.
    """
    text = _text(content, name)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[FileRow] = []
    problems: list[_Problem] = []
    seen: dict[tuple[str, str], int] = {}
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if tuple(header) != PAYMENT_COLUMNS:
            raise ParameterError(
                f"入金ファイル '{name}' の 1 行目が {','.join(header)!r} です。{','.join(PAYMENT_COLUMNS)} にしてください。"
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = _row(reader.line_num, [cell.strip() for cell in cells], problems)
            if row is None:
                continue
            key = (row.payment.number, row.payment.reference)
            if key in seen:
                text = f"請求書 {key[0]} の '{key[1]}' は {seen[key]} 行目にもあります。入金ごとに別の参照番号にしてください"
                problems.append(_Problem(row.line, "参照番号", text))
            seen[key] = row.line
            rows.append(row)
    except csv.Error as error:
        raise ParameterError(
            f"入金ファイル '{name}' の {reader.line_num} 行目を CSV として読めません（{error}）。引用符を直してください。"
        ) from None
    if problems:
        raise _refusal(name, problems)
    if not rows:
        raise ParameterError(
            f"入金ファイル '{name}' に入金の行がありません。2 行目から入金を書いてください。"
        )
    return rows


def require_recordable(
    rows: Sequence[FileRow],
    name: str,
    payables: Mapping[str, Payable],
    recorded: Mapping[tuple[str, str], Payment],
    today: date,
    paid_in_application: set[str],
) -> None:
    """Check that all payments can be recorded. ``payables`` are by number, ``recorded`` by number and reference.

    ``paid_in_application``: as ``require_unpaid_in_application``.

    :raises ParameterError: names all lines and columns that cannot be recorded.
    """
    problems = []
    for row in rows:
        payment = row.payment
        try:
            require_acceptable(payment, payables.get(payment.number), today)
            known = recorded.get((payment.number, payment.reference))
            if known:
                require_same(payment, known)
            else:
                require_unpaid_in_application(payment, paid_in_application)
        except BillingError as error:
            problems.append(_Problem(row.line, _COLUMN_OF[error.code], str(error).removesuffix("。")))
    if problems:
        raise _refusal(name, problems)


def _text(content: bytes, name: str) -> str:
    has_utf16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if has_utf16_mark else ("utf-8-sig", "cp932"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ParameterError(
        f"入金ファイル '{name}' の文字コードが分かりません。UTF-8、Shift_JIS、UTF-16 のどれかで保存してください。"
    )


def _row(line: int, cells: Sequence[str], problems: list[_Problem]) -> FileRow | None:
    """The row, or None after its problems are added."""
    if len(cells) != len(PAYMENT_COLUMNS):
        problems.append(
            _Problem(
                line, PAYMENT_COLUMNS[0], f"列が {len(cells)} 個です。{len(PAYMENT_COLUMNS)} 個にしてください"
            )
        )
        return None
    empty = [column for column, cell in zip(PAYMENT_COLUMNS, cells, strict=True) if not cell]
    if empty:
        problems += [_Problem(line, column, "空欄です。値を書いてください") for column in empty]
        return None
    unreadable = [
        column
        for column, cell in zip(PAYMENT_COLUMNS, cells, strict=True)
        if has_control_characters(one_line(cell))
    ]
    if unreadable:
        problems += [
            _Problem(line, column, "制御文字か、見えない文字があります。消してください")
            for column in unreadable
        ]
        return None
    number, day, amount, currency, method, reference = map(one_line, cells)
    number, currency = plain(number), plain(currency)
    paid_on = _day(plain(day))
    if paid_on is None:
        problems.append(
            _Problem(line, "入金日", f"'{day}' は日付ではありません。2026-11-30 のように書いてください")
        )
    paid = _amount(plain(amount), currency)
    if paid is None or paid < 0:
        problems.append(
            _Problem(line, "金額", f"'{amount}' は金額ではありません。11000 のように書いてください")
        )
        paid = None
    if paid_on is None or paid is None:
        return None
    return FileRow(line, Payment(number, paid_on, paid, currency, method, reference))


def _amount(text: str, currency: str) -> Decimal | None:
    return entered_number(_YEN_SIGN.sub("", text) if currency == YEN else text)


def _day(text: str) -> date | None:
    match = _DAY.fullmatch(text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _refusal(name: str, problems: Sequence[_Problem]) -> ParameterError:
    listed = "。".join(map(str, problems[:_LISTED]))
    more = len(problems) - _LISTED
    return ParameterError(
        f"入金ファイル '{name}' は取り込めません（何も記録していません）。{listed}。"
        + (f"ほか {more} 件。" if more > 0 else "")
    )
