"""The CSV file of payments that the accountant puts into the object store. Pure: bytes in, payments out.

The header is 請求書番号,入金日,金額,通貨,方法,参照番号. ``csv_rows`` describes encodings and separators. A day is 2026-11-30, 2026/11/30 or
2026年11月30日 (Asia/Tokyo). An amount may have commas, and in yen a yen sign or 円. Full-width digits are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import YEN
from include.skillreport.billing.receivables.file_cells import CellProblem, csv_rows, day_in, unusable, yen_in
from include.skillreport.billing.receivables.payment import (
    Payable,
    Payment,
    require_acceptable,
    require_same,
    require_unpaid_in_application,
)
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import entered_number, plain
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


@dataclass(frozen=True)
class FileRow:
    """A payment, and the last line of its row in the file. The header is line 1."""

    line: int
    payment: Payment


def is_payment_file(beginning: bytes) -> bool:
    """True if the beginning of a file has the columns of payments, so that it is no bank file."""
    header, has_more, _ = beginning.rpartition(b"\n")
    try:
        return next(csv_rows(header if has_more else beginning, ""), (1, []))[1] == list(PAYMENT_COLUMNS)
    except ParameterError:
        return False


def parse_payments(content: bytes, name: str) -> list[FileRow]:
    """The payments of the file ``name``, in order. Empty lines are skipped.

    :raises ParameterError: names all unreadable lines and columns.
    """
    file = f"入金ファイル '{name}'"
    table = csv_rows(content, file)
    rows: list[FileRow] = []
    problems: list[CellProblem] = []
    seen: dict[tuple[str, str], int] = {}
    _, header = next(table, (1, []))
    if tuple(header) != PAYMENT_COLUMNS:
        raise ParameterError(
            f"{file} の 1 行目が {','.join(header)!r} です。{','.join(PAYMENT_COLUMNS)} にしてください。"
        )
    for line, cells in table:
        row = _row(line, cells, problems) if any(cells) else None
        if row is None:
            continue
        key = (row.payment.number, row.payment.reference)
        if key in seen:
            text = f"請求書 {key[0]} の '{key[1]}' は {seen[key]} 行目にもあります。入金ごとに別の参照番号にしてください"
            problems.append(CellProblem(row.line, "参照番号", text))
        seen[key] = row.line
        rows.append(row)
    if problems:
        raise unusable(file, problems)
    if not rows:
        raise ParameterError(f"{file} に入金の行がありません。2 行目から入金を書いてください。")
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
            problems.append(CellProblem(row.line, _COLUMN_OF[error.code], str(error).removesuffix("。")))
    if problems:
        raise unusable(f"入金ファイル '{name}'", problems)


def _row(line: int, cells: Sequence[str], problems: list[CellProblem]) -> FileRow | None:
    """The row, or None with its problems added."""
    if len(cells) != len(PAYMENT_COLUMNS):
        problems.append(
            CellProblem(
                line, PAYMENT_COLUMNS[0], f"列が {len(cells)} 個です。{len(PAYMENT_COLUMNS)} 個にしてください"
            )
        )
        return None
    empty = [column for column, cell in zip(PAYMENT_COLUMNS, cells, strict=True) if not cell]
    if empty:
        problems += [CellProblem(line, column, "空欄です。値を書いてください") for column in empty]
        return None
    unreadable = [
        column
        for column, cell in zip(PAYMENT_COLUMNS, cells, strict=True)
        if has_control_characters(one_line(cell))
    ]
    if unreadable:
        problems += [
            CellProblem(line, column, "制御文字か、見えない文字があります。消してください")
            for column in unreadable
        ]
        return None
    number, day, amount, currency, method, reference = map(one_line, cells)
    number, currency = plain(number), plain(currency)
    paid_on = day_in(plain(day))
    if paid_on is None:
        problems.append(
            CellProblem(line, "入金日", f"'{day}' は日付ではありません。2026-11-30 のように書いてください")
        )
    paid = yen_in(plain(amount)) if currency == YEN else entered_number(plain(amount))
    if paid is None or paid < 0:
        problems.append(
            CellProblem(line, "金額", f"'{amount}' は金額ではありません。11000 のように書いてください")
        )
        paid = None
    if paid_on is None or paid is None:
        return None
    return FileRow(line, Payment(number, paid_on, paid, currency, method, reference))
