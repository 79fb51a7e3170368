"""Reads a bank's CSV file of an account's movements in one of the configured formats. Pure: bytes in, transfers out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import islice

from include.skillreport.billing.receivables.file_cells import (
    CellProblem,
    csv_rows,
    day_in,
    reiwa_day_in,
    unusable,
    yen_in,
)
from include.skillreport.billing.receivables.payment_file import PAYMENT_COLUMNS
from include.skillreport.billing.receivables.transfer import BankFile, LeftOut, Transfer
from include.skillreport.billing.settings import PaymentFormatSettings
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.digest import one_line

_MOST_ROWS = 100_000

# An index contains the payer's name, and limits its length. Banks write 48 characters.
_LONGEST_CELL = 200

# The maximum number of listed reasons of a file, and of a cell's characters in a reason.
_MOST_REASONS = 10
_LONGEST_REASON = 20

_AGAIN = "銀行から取得し直してください"

_KINDS = {"普通": "1", "当座": "2", "貯蓄": "4"}
_ACCOUNT = re.compile("[0-9]{4}-[0-9]{3}-[124]-[0-9]{7}")
_EIGHT_DIGITS = re.compile("([0-9]{4})([0-9]{2})([0-9]{2})")


def parse_bank_csv(content: bytes, name: str, formats: Mapping[str, PaymentFormatSettings]) -> BankFile:
    """The transfers of the file ``name``, in order. ``line`` is the last line of the row. Other deposits are summed up by reason.

    :raises ParameterError: no format or several match, no deposit is a transfer, or names all unreadable lines and columns.
    """
    file = f"銀行のファイル '{name}'"
    table = list(islice(csv_rows(content, file), _MOST_ROWS + 1))
    if len(table) > _MOST_ROWS:
        raise ParameterError(f"{file} は {_MOST_ROWS:,} 行を超えています。期間を分けて取得してください。")
    if table and tuple(table[0][1]) == PAYMENT_COLUMNS:
        raise ParameterError(
            f"{file} は請求書番号のある入金ファイルです。DAG operate_invoices の操作「入金ファイルの取込み」で取り込んでください。"
        )
    form = _format(table, name, formats, file)
    reader = _Reader(formats[form], table, f"billing.payment_formats.{form}", file)
    transfers = reader.transfers()
    left_out = reader.left_out()
    if left_out and not transfers:
        raise ParameterError(
            f"{file} の入金に振込がありません（{'、'.join(map(str, left_out))}）。設定 billing.payment_formats.{form} の receipts を"
            "確認してください。振込のないファイルなら、フォルダーから取り除いてください。"
        )
    return BankFile(form, tuple(transfers), left_out)


def _format(
    table: Sequence[tuple[int, list[str]]], name: str, formats: Mapping[str, PaymentFormatSettings], file: str
) -> str:
    matching = [
        key
        for key, form in formats.items()
        if fnmatchcase(name.lower(), form.files.lower())
        and (not form.header or all(_header(form, table).count(column) == 1 for column in form.columns))
    ]
    if not matching:
        raise ParameterError(
            f"{file} の形式が分かりません。全銀の振込入金通知か、設定 billing.payment_formats にある形式"
            f"（{'、'.join(formats)}）の CSV を置いてください。ほかの形式は設定に加えてください。"
        )
    if len(matching) > 1:
        raise ParameterError(
            f"{file} は、設定 billing.payment_formats の複数の形式（{'、'.join(matching)}）に合います。files でファイル名を分けてください。"
        )
    return matching[0]


def _header(form: PaymentFormatSettings, table: Sequence[tuple[int, list[str]]]) -> list[str]:
    return table[form.lines_before][1] if len(table) > form.lines_before else []


class _Reader:
    """Reads the rows of a file in the format."""

    def __init__(
        self, form: PaymentFormatSettings, table: Sequence[tuple[int, list[str]]], setting: str, file: str
    ) -> None:
        if not (form.account or form.account_columns):
            raise ParameterError(
                f"{file} には口座がありません。設定 {setting}.account に、このファイルの口座を書いてください。"
            )
        self._form, self._file = form, file
        header = _header(form, table) if form.header else []
        self._width = len(header)
        self._places = {
            column: header.index(column) if form.header else int(column) - 1 for column in form.columns
        }
        rows = [(line, cells) for line, cells in table[form.lines_before + form.header :] if any(cells)]
        end = max(0, len(rows) - form.lines_after)
        self._rows, self._after = rows[:end], rows[end:]
        self._problems: list[CellProblem] = []
        self._left_out: defaultdict[str, list[Decimal]] = defaultdict(list)

    def transfers(self) -> list[Transfer]:
        """The transfers. :raises ParameterError: names all problems."""
        found = []
        for line, cells in self._rows:
            if self._width and len(cells) != self._width:
                text = f"列が {len(cells)} 個です（{self._width} 個のはずです）。{_AGAIN}"
                self._problems.append(CellProblem(line, "列", text))
                continue
            row = {
                column: cells[place] if place < len(cells) else "" for column, place in self._places.items()
            }
            amount = yen_in(plain(row[self._form.amount]))
            if self._form.signed and amount is not None and amount < 0:
                if not self._is_cancellation(row):
                    continue
                amount = -amount
            payer, reason = self._payer(row)
            if reason:
                self._leave_out(row, amount, reason)
            elif transfer := self._transfer(line, row, payer, amount):
                found.append(transfer)
        for line, cells in self._after:
            if any(day_in(plain(cell)) for cell in cells):
                text = f"明細の後の行（lines_after）に日付があります。設定 lines_after の数を確かめてください。{_AGAIN}"
                self._problems.append(CellProblem(line, "列", text))
        if self._problems:
            raise unusable(self._file, self._problems)
        return found

    def left_out(self) -> tuple[LeftOut, ...]:
        """The other deposits, the largest sum first. The smallest ones share one reason."""
        found = [LeftOut(reason, len(each), sum(each, Decimal(0))) for reason, each in self._left_out.items()]
        found.sort(key=lambda each: (-each.total, each.reason))
        rest = found[_MOST_REASONS:]
        others = LeftOut(
            "ほかの理由", sum(each.rows for each in rest), sum((each.total for each in rest), Decimal(0))
        )
        return (*found[:_MOST_REASONS], *([others] if rest else []))

    def _leave_out(self, row: Mapping[str, str], amount: Decimal | None, reason: str) -> None:
        if amount is not None and amount > 0 and not _differing(row, self._form.deposits):
            self._left_out[reason].append(amount)

    def _payer(self, row: Mapping[str, str]) -> tuple[str, str]:
        """The payer's name, and the reason that the row is no transfer."""
        form = self._form
        other = _differing(row, form.receipts)
        if other and not self._is_cancellation(row):
            return "", f"{other}「{one_line(plain(row[other]))[:_LONGEST_REASON]}」"
        if not form.payer_prefix:
            return row[form.payer], ""
        match = re.fullmatch(rf"{re.escape(form.payer_prefix)}(?:\s+(.*))?", row[form.payer])
        return (match[1] or "", "") if match else ("", f"{form.payer}が「{form.payer_prefix}」で始まらない")

    def _is_cancellation(self, row: Mapping[str, str]) -> bool:
        return bool(self._form.cancellations) and not _differing(row, self._form.cancellations)

    def _transfer(
        self, line: int, row: Mapping[str, str], payer: str, amount: Decimal | None
    ) -> Transfer | None:
        """The row's transfer, or None with its problems added."""
        form = self._form
        before = len(self._problems)
        for column, cell in row.items():
            if has_control_characters(one_line(cell)):
                self._refuse(line, column, f"制御文字か、見えない文字があります。{_AGAIN}")
            if len(cell) > _LONGEST_CELL:
                self._refuse(
                    line, column, f"{len(cell):,} 文字あります（{_LONGEST_CELL} 文字まで）。{_AGAIN}"
                )
        day = self._day(line, row)
        if amount is None or amount <= 0 or amount % 1:
            self._refuse(
                line,
                form.amount,
                f"'{row[form.amount]}' は円の金額ではありません。{_AGAIN}",
            )
        account = form.account or self._account(line, row)
        if day is None or amount is None or len(self._problems) > before:
            return None
        return Transfer(
            account,
            day,
            Decimal(int(amount)),
            one_line(payer),
            payer_code=_unless_zero(row.get(form.payer_code, "")),
            reference=_unless_zero(row.get(form.reference, "")),
            details="、".join(one_line(row[each]) for each in form.details if row[each]),
            is_cancellation=self._is_cancellation(row),
            line=line,
        )

    def _day(self, line: int, row: Mapping[str, str]) -> date | None:
        text = plain("/".join(row[column] for column in self._form.day))
        day = (
            reiwa_day_in(text.rjust(6, "0"))  # spreadsheets remove the first zero
            if self._form.calendar == "japanese"
            else day_in(_EIGHT_DIGITS.sub(r"\1/\2/\3", text))
        )
        if day is None:
            self._refuse(line, self._form.day[0], f"'{text}' は日付ではありません。{_AGAIN}")
        return day

    def _account(self, line: int, row: Mapping[str, str]) -> str:
        assert self._form.account_columns is not None
        bank, branch, kind, number = (plain(row[column]) for column in self._form.account_columns)
        kind = _KINDS.get(kind.removesuffix("預金"), kind)
        account = f"{bank:0>4}-{branch:0>3}-{kind}-{number.lstrip('0'):0>7}"
        if not _ACCOUNT.fullmatch(account):
            self._refuse(
                line,
                self._form.account_columns[-1],
                f"'{account}' は口座ではありません。設定 account_columns を確認してください",
            )
        return account

    def _refuse(self, line: int, column: str, text: str) -> None:
        self._problems.append(CellProblem(line, column, text))


def _differing(row: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> str | None:
    """The first column whose cell has none of the wanted values."""
    return next((column for column, values in wanted.items() if plain(row[column]) not in values), None)


def _unless_zero(text: str) -> str:
    return text if text.strip("0") else ""
