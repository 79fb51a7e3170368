"""Reads the banks' file of received transfers (全銀協 振込入金通知, 種別コード 01). Pure: bytes in, transfers out.

Records have 200 bytes in JIS X 0201, with or without line ends: a header (1), data (2) and a trailer (8) for each account, and an end
record (9). Years are Japanese (令和). Three sources agree about the layout, read in November 2026:
阿波銀行「振込入金通知（全銀協制定フォーマット）」 (awabank.co.jp/houjin/service/fb/zengin/tsuchi), and two public readers: Diva.Zengin, and
one after 全銀協「適用業務およびレコード・フォーマット」, which also has format B with amounts of 12 digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise

from include.skillreport.billing.receivables.file_cells import CellProblem, reiwa_day_in, unusable
from include.skillreport.billing.receivables.transfer import BankFile, Transfer
from include.skillreport.core.errors import ParameterError

_RECORD_BYTES = 200


def _layout(fields: str) -> dict[str, slice]:
    """The slices of the fields, from their names and lengths."""
    names, lengths = fields.split()[::2], [int(length) for length in fields.split()[1::2]]
    return {
        name: slice(end - length, end)
        for name, length, end in zip(names, lengths, accumulate(lengths), strict=True)
    }


# The fields with their lengths; the rest of the record is blank. Format B has two more amounts. The unused one of 金額 and 金額(2) is zero.
_HEADER = _layout(
    "データ区分 1 種別コード 2 コード区分 1 作成日 6 勘定日（自） 6 勘定日（至） 6"
    " 銀行コード 4 銀行名 15 支店コード 3 支店名 15 預金種目 1 口座番号 7 口座名 40"
)
_TRANSFER = (
    "データ区分 1 照会番号 6 勘定日 6 起算日 6 金額 10 うち他店券金額 10"
    " 振込依頼人コード 10 振込依頼人名 48 仕向銀行名 15 仕向店名 15 取消区分 1"
)
_DATA_A = _layout(f"{_TRANSFER} EDI情報 20")
_DATA_B = _layout(f"{_TRANSFER} 金額(2) 12 うち他店券金額(2) 12 EDI情報 20")
_TRAILER = _layout("データ区分 1 振込合計件数 6 振込合計金額 12 取消合計件数 6 取消合計金額 12")

# In the place of format B's amounts, format A has the EDI information and four blanks.
_AMOUNTS_OF_B, _AMOUNTS_AT = re.compile("[0-9]{24}"), (128, 152)

# The kinds of records that may follow each kind; "" is the beginning and the end of the file.
_NEXT: dict[str, tuple[str, ...]] = {
    "": ("1",),
    "1": ("2", "8"),
    "2": ("2", "8"),
    "8": ("1", "9"),
    "9": ("",),
}

# The beginning of a header: digits, and no separators of a CSV file. In EBCDIC, digits are F0 to F9.
_JIS_HEADER = re.compile(rb"(\xef\xbb\xbf)?1[0-9]{3}[^,\t\r\n]{18}")
_EBCDIC_HEADER = re.compile(rb"\xf1[\xf0-\xf9]{3}")
_NOT_JIS_X_0201 = re.compile(rb"[^\x20-\x7e\xa1-\xdf]")

_DIGITS = re.compile("[0-9]+")

_KINDS = ("1", "2", "4")  # 普通, 当座, 貯蓄
RECORD = "件目のレコード"

_AGAIN = "銀行から取得し直してください"


@dataclass
class _Group:
    """The records of an account. ``is_whole``: all of them are usable."""

    account: str
    period: tuple[date | None, date | None]
    transfers: list[Transfer] = field(default_factory=list)
    is_whole: bool = True


class _Record:
    """A record's fields, and the problems of the unusable ones."""

    def __init__(
        self, number: int, text: str, layout: Mapping[str, slice], problems: list[CellProblem]
    ) -> None:
        self.line = number
        self._problems = problems
        self._fields = {name: text[place] for name, place in layout.items()}

    def refuse(self, name: str, text: str) -> None:
        """Add a problem of the field."""
        self._problems.append(CellProblem(self.line, name, text, RECORD))

    def text(self, name: str) -> str:
        """The field without blanks around it; empty if the layout has no such field."""
        return self._fields.get(name, "").strip()

    def digits(self, name: str) -> str:
        """The field. Adds a problem if it has other characters than digits."""
        value = self._fields[name]
        if not _DIGITS.fullmatch(value):
            self.refuse(name, f"'{value}' は数字ではありません。{_AGAIN}")
        return value

    def amount(self, name: str) -> int:
        """The number in the field; 0 if it is blank or unusable."""
        value = self.digits(name) if self.text(name) else "0"
        return int(value) if _DIGITS.fullmatch(value) else 0

    def day(self, name: str) -> date | None:
        """The day in the field; None if it is unusable."""
        day = reiwa_day_in(self._fields[name])
        if day is None:
            self.refuse(
                name,
                f"'{self._fields[name]}' は令和の日付（年月日 6 桁）ではありません。{_AGAIN}",
            )
        return day


def is_zengin(content: bytes) -> bool:
    """True if the file begins with a header record of any 全銀 format, in JIS X 0201 or EBCDIC."""
    return bool(_JIS_HEADER.match(content) or _EBCDIC_HEADER.match(content))


def parse_zengin(content: bytes, name: str) -> BankFile:
    """The transfers of the file ``name``, in order. ``line`` is the number of the record.

    :raises ParameterError: the format is wrong, or names all records and fields that are unreadable or do not add up.
    """
    file = f"銀行のファイル '{name}'"
    _require_transfers(content, file)
    problems: list[CellProblem] = []
    records = [_text(*each, problems) for each in enumerate(_records(content, file), 1)]
    _require_order([record[0] for record in records], problems)
    if problems:
        raise unusable(file, problems)
    groups: list[_Group] = []
    for number, record in enumerate(records, 1):
        if record[0] == "1":
            groups.append(_header(_Record(number, record, _HEADER, problems)))
        elif record[0] == "2":
            layout = _DATA_B if _AMOUNTS_OF_B.fullmatch(record, *_AMOUNTS_AT) else _DATA_A
            _add(_Record(number, record, layout, problems), groups[-1])
        elif record[0] == "8":
            _check_sums(_Record(number, record, _TRAILER, problems), groups[-1])
    if problems:
        raise unusable(file, problems)
    return BankFile("zengin", tuple(transfer for group in groups for transfer in group.transfers))


def _require_transfers(content: bytes, file: str) -> None:
    ebcdic = _EBCDIC_HEADER.match(content)
    start = (
        bytes(byte & 0x0F | 0x30 for byte in ebcdic[0]) if ebcdic else content.removeprefix(b"\xef\xbb\xbf")
    )
    kind, code = start[1:3].decode("ascii", "replace"), start[3:4]
    if ebcdic or code == b"1":
        raise ParameterError(
            f"{file} の文字コードは EBCDIC（コード区分 1）です。銀行の画面で JIS（コード区分 0）を選んで、取得し直してください。"
        )
    if kind == "03":
        raise ParameterError(
            f"{file} は入出金取引明細（種別コード 03）です。振込入金通知（種別コード 01）か、銀行の CSV を置いてください。"
        )
    if kind != "01" or code != b"0":
        raise ParameterError(
            f"{file} は種別コード {kind} の全銀ファイルです。振込入金通知（種別コード 01、コード区分 0）を置いてください。"
        )


def _records(content: bytes, file: str) -> Sequence[bytes]:
    """The records without line ends. :raises ParameterError: a record has another length."""
    body = content.rstrip(b"\x1a\r\n")
    lines = re.split(rb"\r\n|\r|\n", body)
    if len(lines) == 1:
        lines = [body[start : start + _RECORD_BYTES] for start in range(0, len(body), _RECORD_BYTES)]
    for number, line in enumerate(lines, 1):
        if len(line) != _RECORD_BYTES:
            raise ParameterError(
                f"{file} の {number} {RECORD}は {len(line)} バイトです（{_RECORD_BYTES} バイトのはずです）。"
                f"途中で切れたか、編集されています。{_AGAIN}。"
            )
    return lines


def _text(number: int, record: bytes, problems: list[CellProblem]) -> str:
    """The record as text of 200 characters."""
    wrong = _NOT_JIS_X_0201.search(record)
    if wrong:
        text = f"{wrong.start() + 1} バイト目（{record[wrong.start()]:02X}）は JIS X 0201 の文字ではありません。{_AGAIN}"
        problems.append(CellProblem(number, "文字", text, RECORD))
    return record.decode("cp932", "replace")


def _require_order(kinds: Sequence[str], problems: list[CellProblem]) -> None:
    for number, (before, kind) in enumerate(pairwise(["", *kinds, ""]), 1):
        if kind not in _NEXT[before]:
            found = f"'{kind}' です" if kind else "ファイルが途中で終わっています"
            wanted = " か ".join(_NEXT[before]).strip() or "ファイルの終わり"
            text = f"{found}（{wanted} のはずです）。銀行から取得し直し、ファイルを 1 つずつ置いてください"
            problems.append(CellProblem(number, "データ区分", text, RECORD))
            return


def _header(record: _Record) -> _Group:
    bank, branch, number = map(record.digits, ("銀行コード", "支店コード", "口座番号"))
    kind = record.text("預金種目")
    if kind not in _KINDS:
        record.refuse(
            "預金種目",
            f"'{kind}' は普通（1）、当座（2）、貯蓄（4）のどれでもありません。口座を確認してください",
        )
    first, last = (
        record.day(name) if record.text(name).strip("0") else None
        for name in ("勘定日（自）", "勘定日（至）")
    )
    return _Group(f"{bank}-{branch}-{kind}-{number}", (first, last))


def _add(record: _Record, group: _Group) -> None:
    day = record.day("勘定日")
    first, last = group.period
    if day and ((first and day < first) or (last and day > last)):
        record.refuse(
            "勘定日",
            f"{day} はヘッダーの勘定日（{first or ''}〜{last or ''}）の外です。銀行に確認してください",
        )
    amount, of_cheques = (
        record.amount(name) + (record.amount(f"{name}(2)") if record.text(f"{name}(2)") else 0)
        for name in ("金額", "うち他店券金額")
    )
    if not amount and not record.text("金額").strip("0"):
        record.refuse("金額", "0 円です。銀行に確認してください")
    cancelled = record.text("取消区分")
    if cancelled not in ("", "0", "1"):
        record.refuse("取消区分", f"'{cancelled}' は 0 でも 1（取消）でもありません。銀行に確認してください")
    if not (day and amount):
        group.is_whole = False
        return
    group.transfers.append(
        Transfer(
            group.account,
            day,
            Decimal(amount),
            record.text("振込依頼人名"),
            payer_code=_unless_zero(record.text("振込依頼人コード")),
            reference=_unless_zero(record.text("照会番号")),
            details=_details(record, of_cheques),
            is_cancellation=cancelled == "1",
            line=record.line,
        )
    )


def _unless_zero(text: str) -> str:
    return text if text.strip("0") else ""


def _details(record: _Record, of_cheques: int) -> str:
    sender = " ".join(filter(None, map(record.text, ("仕向銀行名", "仕向店名"))))
    edi = record.text("EDI情報")
    parts = {f"EDI {edi}": edi, f"仕向 {sender}": sender, f"うち他店券 {of_cheques:,} 円": of_cheques}
    return "、".join(text for text, value in parts.items() if value)


def _check_sums(record: _Record, group: _Group) -> None:
    """Compare the trailer with the data. Some banks include cancelled transfers in the total."""
    sums = _sums(group.transfers)
    cancelled = _sums([each for each in group.transfers if each.is_cancellation])
    others = (sums[0] - cancelled[0], sums[1] - cancelled[1])
    total = (record.amount("振込合計件数"), record.amount("振込合計金額"))
    if not group.is_whole:
        return
    if total not in (sums, others):
        record.refuse(
            "振込合計金額",
            f"{_shown(total)}ですが、データは {_shown(sums)}です。{_AGAIN}",
        )
    found = (record.amount("取消合計件数"), record.amount("取消合計金額"))
    if record.text("取消合計件数") and found != cancelled:
        record.refuse(
            "取消合計金額", f"{_shown(found)}ですが、取消のデータは {_shown(cancelled)}です。{_AGAIN}"
        )


def _sums(transfers: Sequence[Transfer]) -> tuple[int, int]:
    return len(transfers), sum(int(each.amount) for each in transfers)


def _shown(sums: tuple[int, ...]) -> str:
    return f"{sums[0]:,} 件 {sums[1]:,} 円"
