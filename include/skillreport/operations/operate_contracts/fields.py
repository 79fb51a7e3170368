"""The fields of the operations on contracts, with their titles, hints and checks. The DAG file imports this module."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from include.skillreport.billing.actions.fields import TAX_CATEGORIES
from include.skillreport.core.entered import plain
from include.skillreport.core.form_fields import (
    Choice,
    Code,
    Codes,
    Day,
    Field,
    Flag,
    Lines,
    Number,
    ReasonField,
)

# The folders of the files to import, and of the exported files.
INCOMING = "contracts/incoming"
EXPORTED = "contracts/exported"

KIND_TITLES = {
    "profile": "請求先",
    "plan": "プラン",
    "discount": "割引",
    "commitment": "最低利用料金",
    "order_number": "注文番号",
    "payer": "振込名義",
    "exchange_rate": "為替レート",
}
DATED = {name: KIND_TITLES[name] for name in ("discount", "commitment", "order_number")}

DISCOUNT_KINDS = {"percentage": "率（%）", "fixed": "定額（月額）", "free_quantity": "無料の数量（月）"}
METRICS = {
    "active_users": "アクティブユーザー",
    "storage_gb": "ストレージ（GB）",
    "api_calls": "API 呼び出し",
    "reports_generated": "レポート",
}
LANGUAGES = {"ja": "日本語", "en": "英語"}
HONORIFICS = {"onchu": "御中", "sama": "様", "none": "なし"}
DELIVERIES = {"attachment": "添付", "link": "リンク", "none": "付けない"}

_CURRENCY = re.compile("[A-Z]{3}")
_POSTAL_CODE = re.compile("[0-9A-Za-z -]{1,16}")
_COUNTRY = re.compile("[A-Z]{2}")
_ORDER_NUMBER_SIGNS = " -_/.,:;#()&+*・ー"
_LONGEST = 200


def _text_problem(text: str) -> str:
    return f"が長すぎます（{_LONGEST} 文字まで）。" if len(text) > _LONGEST else ""


class _Address(Code):
    """An e-mail address."""

    example = "keiri@kyaku.example.jp"

    def read(self, value: Any) -> str:
        return _address(super().read(value))


class _Addresses(Codes):
    example = ("buchou@kyaku.example.jp",)

    def read_line(self, line: Any) -> str:
        return _address(super().read_line(line))


class _UpperCode(Code):
    """A code, converted to capitals."""

    def read(self, value: Any) -> str:
        return super().read(value).upper()


def _currency_problem(currency: str) -> str:
    from include.skillreport.billing.errors import BillingError
    from include.skillreport.billing.money import minor_unit

    if _CURRENCY.fullmatch(currency):
        with suppress(BillingError):
            minor_unit(currency)
            return ""
    return f"の {currency[:10]!r} は通貨ではありません。ISO 4217 の 3 文字（例 JPY、USD）で指定してください。"


def _order_number_problem(text: str) -> str:
    if len(text) > 60:
        return "が長すぎます（60 文字まで）。"
    usable = all(letter.isalnum() or letter in _ORDER_NUMBER_SIGNS for letter in plain(text))
    return (
        "" if usable else f"には、文字、数字、空白と {' '.join(_ORDER_NUMBER_SIGNS.strip())} だけを書けます。"
    )


def _postal_code_problem(text: str) -> str:
    return "" if _POSTAL_CODE.fullmatch(text) else "には、数字、英字、空白と - だけを、16 文字まで書けます。"


def _country_problem(country: str) -> str:
    if _COUNTRY.fullmatch(country):
        return ""
    return f"の {country[:10]!r} は国ではありません。ISO 3166-1 の 2 文字（例 JP、US）で指定してください。"


def _address(text: str) -> str:
    from include.skillreport.messaging.channels.email.letter import is_address

    if not is_address(text):
        # All users can read the message about a file, so it does not contain the address.
        raise ValueError("に、メールアドレスではないものがあります。1 件ずつ、名前を付けずに書いてください。")
    return text


def _between(least: int, most: int) -> Any:
    def problem(number: Decimal) -> str:
        usable = number == number.to_integral_value() and least <= number <= most
        return "" if usable else f"は {least} から {most} までの整数で指定してください。"

    return problem


def _positive(number: Decimal) -> str:
    return "" if number > 0 else "は 0 より大きくしてください。"


def _file_problem(name: str) -> str:
    if name.startswith(".") or ".." in name or any(part in name for part in ("/", "\\")):
        return f"の {name[:80]!r} は使えません。保存先の {INCOMING}/ にあるファイルの名前だけを指定してください。"
    return ""


Tenants = Annotated[
    tuple[str, ...],
    Lines("テナントコード", "契約を変えるテナントのコード（1 行に 1 件）。", is_target=True),
]
Reason = Annotated[
    str, ReasonField("履歴に残ります。", example="契約書 2026-11 の変更", problem=_text_problem)
]

RecipientName = Annotated[
    str,
    Field(
        "宛名",
        "空欄ならアプリのテナント名。",
        example="株式会社アオバ",
        problem=_text_problem,
        is_personal=True,
    ),
]
Department = Annotated[
    str, Field("部署", "例: 経理部", example="経理部", problem=_text_problem, is_personal=True)
]
Honorific = Annotated[
    str, Choice("敬称", "宛名か部署の後に付けます。空欄なら御中。", example="sama", choices=HONORIFICS)
]
PostalCode = Annotated[
    str, Code("郵便番号", "例: 100-0001", example="100-0001", problem=_postal_code_problem, is_personal=True)
]
Address = Annotated[
    str,
    Field(
        "住所",
        "空欄ならアプリの住所。",
        example="東京都千代田区 1-1",
        problem=_text_problem,
        is_personal=True,
    ),
]
Country = Annotated[
    str,
    _UpperCode(
        "国", "住所の国（ISO 3166-1、例 JP）。", example="JP", problem=_country_problem, is_personal=True
    ),
]
Email = Annotated[str, _Address("送付先", "空欄ならアプリの連絡先。", is_personal=True)]
FurtherEmails = Annotated[tuple[str, ...], _Addresses("追加の送付先", "1 行に 1 件。", is_personal=True)]
CcEmails = Annotated[tuple[str, ...], _Addresses("Cc", "1 行に 1 件。", is_personal=True)]
Language = Annotated[str, Choice("言語", "空欄なら日本語。", example="en", choices=LANGUAGES)]
Currency = Annotated[
    str,
    _UpperCode(
        "通貨",
        "ISO 4217（例 JPY）。請求先では、空欄ならアプリの通貨。",
        example="JPY",
        problem=_currency_problem,
    ),
]
TaxCategory = Annotated[
    str,
    Choice(
        "税区分", "空欄なら料金表（海外の請求先は設定）のとおり。", example="export", choices=TAX_CATEGORIES
    ),
]
PartnerCode = Annotated[
    str,
    Code(
        "取引先コード",
        "会計ソフトのコード。空欄ならテナントコード。",
        example="T-0001",
        problem=_text_problem,
    ),
]
PdfDelivery = Annotated[
    str, Choice("PDF の渡し方", "空欄なら設定のとおり。", example="link", choices=DELIVERIES)
]
DueMonths = Annotated[
    Decimal,
    Number(
        "期限の月",
        "対象月から何か月後か（0 から 12）。空欄なら設定のとおり。",
        example="2",
        problem=_between(0, 12),
    ),
]
DueDay = Annotated[
    Decimal, Number("期限の日", "1 から 31。31 は月末。", example="31", problem=_between(1, 31))
]

Plan = Annotated[
    str,
    _UpperCode(
        "プラン", "料金表にあるプラン。空欄なら、この日から契約なし。", example="BASIC", problem=_text_problem
    ),
]
PlanFrom = Annotated[
    date,
    Day("プランの初日", "この日からこのプランです（日本時間）。次の登録の前日まで続きます。", is_target=True),
]

DiscountName = Annotated[
    str,
    Field(
        "割引の名前", "請求書に印刷されます。", example="年間契約割引", problem=_text_problem, is_target=True
    ),
]
DiscountKind = Annotated[str, Choice("割引の種類", example="percentage", choices=DISCOUNT_KINDS)]
DiscountValue = Annotated[
    Decimal,
    Number(
        "割引の値",
        "率なら 100 まで。定額は料金表と同じ税込・税抜の額、無料の数量は指標の単位。",
        example="10",
        problem=_positive,
    ),
]
MetricName = Annotated[str, Choice("指標", "無料の数量のときだけ。", example="active_users", choices=METRICS)]
CommitmentAmount = Annotated[
    Decimal,
    Number(
        "最低利用料金",
        "料金表と同じ税込・税抜の月額。0 ならプランの最低額をなくします。",
        example="50000",
        problem=lambda amount: "" if amount >= 0 else "は 0 以上にしてください。",
    ),
]
OrderNumber = Annotated[
    str,
    Field(
        "注文番号",
        "請求書に印刷されます。60 文字まで。",
        example="PO-2026-0123",
        problem=_order_number_problem,
    ),
]
ValidFrom = Annotated[date, Day("初日", "この日から有効です（日本時間）。", is_target=True)]
ValidTo = Annotated[date, Day("末日", "この日まで有効です。空欄なら期限なし。")]
IsChecked = Annotated[
    bool,
    Flag("確かめた", "テナントと違う通貨、1 年より先の初日でも登録します。"),
]
Ended = Annotated[str, Choice("終わらせるもの", example="discount", choices=DATED, is_target=True)]
LastDay = Annotated[date, Day("最後の日", "この日まで有効です。初日より前なら、登録そのものを取り消します。")]
RateDate = Annotated[
    date, Day("レートの日", "月の最後の日のレートが、その月の請求書に使われます。", is_target=True)
]
YenPerUnit = Annotated[Decimal, Number("1 単位の円", "TTM。例: 155.32", example="155.32", problem=_positive)]
PayerName = Annotated[
    str,
    Field(
        "振込名義",
        "銀行のファイルにある名義（カナ）。",
        example="カ)アオバ",
        problem=_text_problem,
        is_personal=True,
    ),
]
PayerCode = Annotated[
    str,
    Code(
        "振込依頼人コード",
        "銀行のファイルにあるときだけ。先頭の 0 は、あってもなくても同じです。",
        example="0000123456",
        is_personal=True,
    ),
]
Changes = Annotated[
    tuple[str, ...], Codes("変更のID", "1 行に 1 件。", example=("C-0123456789abcdef0123",), is_target=True)
]
ImportedKind = Annotated[str, Choice("種類", example="profile", choices=KIND_TITLES)]
ImportedFile = Annotated[
    str,
    Field(
        "ファイル",
        f"保存先の {INCOMING}/ にある CSV の名前。",
        example="profile.csv",
        problem=_file_problem,
    ),
]
