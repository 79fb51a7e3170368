"""Transfers in a bank's file, and the identity of a transfer and its payer. Pure; days are Asia/Tokyo dates, amounts are whole yen."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

# The abbreviations of legal forms in the kana of transfers (法人略語), and their usual spellings. Sources, read in November 2026:
# 京葉銀行「カナ入力」 (alpha_dbank/internet/typing.html), and 別表（第5条関係）法人略語 (expydoc.com/doc/7181036).
_LEGAL_FORMS = {
    "カ": ("株式会社", "株"),
    "ユ": ("有限会社", "有"),
    "メ": ("合名会社", "名"),
    "シ": ("合資会社", "資"),
    "ド": ("合同会社", "同"),
    "ソ": ("相互会社", "相"),
    "イ": ("社会医療法人", "医療法人社団", "医療法人財団", "医療法人", "医"),
    "ザイ": ("一般財団法人", "公益財団法人", "財団法人", "一財", "公財", "財"),
    "シヤ": ("一般社団法人", "公益社団法人", "社団法人", "一社", "公社", "社"),
    "シユウ": ("宗教法人", "宗"),
    "ガク": ("学校法人", "学"),
    "フク": ("社会福祉法人", "福"),
    "ホゴ": ("更生保護法人",),
    "トクヒ": ("特定非営利活動法人", "特非"),
    "チドク": ("地方独立行政法人", "地独"),
    "ドク": ("独立行政法人", "独"),
    "ダイ": ("国立大学法人", "公立大学法人", "大"),
    "ベン": ("弁護士法人", "弁"),
    "シホウ": ("司法書士法人", "司"),
    "ギヨ": ("行政書士法人", "行"),
    "ゼイ": ("税理士法人", "税"),
    "ロウム": ("社会保険労務士法人", "労"),
    "ノウ": ("農事組合法人",),
    "カンリ": ("管理組合法人",),
    "チユウ": ("有限責任中間法人", "無限責任中間法人"),
}

# Each spelling of a legal form with its abbreviation, the longest first.
_SPELLINGS = [(each, form) for form, spellings in _LEGAL_FORMS.items() for each in (form, *spellings)]
_TOKENS = dict(sorted(_SPELLINGS, key=lambda spelling: -len(spelling[0])))
_FORM = f"({'|'.join(_TOKENS)})"
_FULL_FORM = f"({'|'.join(each for each in _TOKENS if re.search('会社|法人', each))})"
# アオバ(カ)チバシテン has the form in the middle. カ.アオバ is a company too.
_LEGAL_FORM = re.compile(rf"\({_FORM}\)|^{_FORM}\)|\({_FORM}$|{_FULL_FORM}")
_FORM_WITH_STOP = re.compile(rf"^{_FORM}\.")

# Hiragana become katakana, small and old kana become large ones, dashes become hyphens, and backslashes yen signs (the same byte).
_PLAIN_KANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_LARGE_KANA = str.maketrans(
    "ァィゥェォッャュョヮヵヶヰヱ" + "ー‐‑‒–—―─−" + "\\", "アイウエオツヤユヨワカケイエ" + "-" * 9 + "¥"
)

# Maps each full-width katakana, as NFKC writes it, to the half-width form.
_HALF_WIDTH = {ord(unicodedata.normalize("NFKC", chr(code))): code for code in range(0xFF61, 0xFFA0)}

# Banks reject the middle dot and the full stop, and ask for a blank instead (same page of 京葉銀行). Users also omit the blank.
_DROPPED = re.compile(r"[\s・、。,]+")


@dataclass(frozen=True)
class Transfer:
    """Money that arrived on an own account, or with ``is_cancellation`` the bank's cancellation (取消) of such a transfer.

    ``account`` is ``0001-001-1-1234567``: bank, branch, kind (1 普通, 2 当座, 4 貯蓄) and number. ``payer_name`` is as in the file, without
    surrounding blanks. ``payer_code`` (振込依頼人コード) and ``reference`` (照会番号) may be empty. ``details`` are for users: EDI
    information, the sending bank and branch. ``line`` is the record or the line in the file, from 1.
    """

    account: str
    booked_on: date
    amount: Decimal
    payer_name: str
    payer_code: str = ""
    reference: str = ""
    details: str = ""
    is_cancellation: bool = False
    line: int = 0


@dataclass(frozen=True)
class LeftOut:
    """Deposits that are skipped for the same reason. ``total`` is in yen."""

    reason: str
    rows: int
    total: Decimal

    def __str__(self) -> str:
        return f"{self.reason}: {self.rows:,} 件 {self.total:,f} 円"


@dataclass(frozen=True)
class BankFile:
    """The content of a bank's file. ``form`` names its format: ``zengin``, or a name from ``payment_formats``.

    ``left_out`` are a CSV file's deposits that are no transfers. Withdrawals are not counted.
    """

    form: str
    transfers: tuple[Transfer, ...]
    left_out: tuple[LeftOut, ...] = ()


def identified(transfers: Iterable[Transfer]) -> list[tuple[str, Transfer]]:
    """Each transfer with its id: ``T261127-`` (its day) and 12 hexadecimal digits.

    The id is the same in each file with the transfer. It depends on the account, day, amount, payer (code and key of the name), reference
    and cancellation, and on the position among equal transfers in the file. ``details`` and ``line`` do not count.
    """
    places = Counter[str]()
    found = []
    for transfer in transfers:
        identity = json.dumps(
            [
                transfer.account,
                transfer.booked_on.isoformat(),
                int(transfer.amount),
                code_key(transfer.payer_code),
                payer_key(transfer.payer_name),
                code_key(transfer.reference),
                transfer.is_cancellation,
            ]
        )
        places[identity] += 1
        digest = hashlib.sha256(f"{identity}{places[identity]}".encode()).hexdigest()
        found.append((f"T{transfer.booked_on:%y%m%d}-{digest[:12]}", transfer))
    return found


def code_key(code: str) -> str:
    """A code (振込依頼人コード) or reference for comparisons, without leading zeros, because spreadsheets remove them."""
    return code.lstrip("0")


def account_key(account: str) -> str:
    """The key of the customer that pays to a virtual account. Keys of names differ, because they are in upper case."""
    return f"account:{account}"


def payer_key(name: str) -> str:
    """A payer's name for comparisons: the same for every spelling of banks and users.

    It is half-width and upper case, with large kana and separate dakuten, without blanks and dots. The legal form becomes a token in its
    place: カ)アオバ and 株式会社アオバ are ``[ｶ]ｱｵﾊﾞ``, but アオバ(カ is ``ｱｵﾊﾞ[ｶ]``, because these are two companies.
    """
    # NFKC would turn a separate full-width dakuten into a blank and a combining character.
    whole = unicodedata.normalize("NFKC", name.replace("゛", "ﾞ").replace("゜", "ﾟ")).upper()
    # There may have been a dropped blank between a kana and its dakuten.
    kana = unicodedata.normalize("NFC", _DROPPED.sub("", whole.translate(_PLAIN_KANA).translate(_LARGE_KANA)))
    without_stops = _FORM_WITH_STOP.sub(r"\1)", kana).replace(".", "")
    tokens = _LEGAL_FORM.sub(lambda found: f"[{_TOKENS[found[found.lastindex or 0]]}]", without_stops)
    return unicodedata.normalize("NFD", tokens).translate(_HALF_WIDTH)
