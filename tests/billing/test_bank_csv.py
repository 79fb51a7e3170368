"""A bank's CSV file is read by its described format as a whole or not at all, and a refusal names line and column."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.receivables.bank_csv import parse_bank_csv
from include.skillreport.billing.receivables.bank_file import read_bank_file
from include.skillreport.billing.receivables.transfer import Transfer, identified
from include.skillreport.billing.settings import BillingSettings, PaymentFormatSettings
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.settings import parse_settings
from tests.worlds.bank_files import BIZSTATION
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

TODAY = date(2026, 11, 28)


def biz_row(
    day: str = "081127", flow: str = "1,11", amount: str = "000000110000", payer: str = "ｶ)ｱｵﾊﾞ"
) -> str:
    return (
        f'"0005","ﾐﾂﾋﾞｼﾕ-ｴﾌｼﾞｴｲ","123","ﾄｳｷﾖ","1","0001234567","ｶ)ﾜﾚﾜﾚ","{day}",{flow},"{amount}","000000000000",'
        f'"","","0000000042","{payer}","ﾐｽﾞﾎ","ｼﾌﾞﾔ","ﾌﾘｺﾐ","A-1"'
    )


SMBC = "年月日,お引出し,お預入れ,お取り扱い内容,残高,メモ,ラベル"

TRANSFER = Transfer(
    OWN_ACCOUNT,
    date(2026, 11, 27),
    Decimal(110_000),
    "ｶ)ｱｵﾊﾞ",
    "0000000042",
    details="A-1、ﾐｽﾞﾎ、ｼﾌﾞﾔ、ﾌﾘｺﾐ",
    line=2,
)

# PayPay銀行: the day in three columns. 三井住友銀行 パソコンバンクWeb21: no header, the kind of record in the first column.
OWN_FORMATS = """
billing:
  own_accounts: ["0005-123-1-1234567", "0009-001-2-0000042"]
  payment_formats:
    smbc_direct: {account: "0009-001-2-0000042"}
    paypay:
      day: [操作日(年), 操作日(月), 操作日(日)]
      amount: お預り金額
      payer: 摘要
      payer_prefix: 振込
      reference: 取引順番号
      details: [メモ]
      account: "0009-001-2-0000042"
      receipts: {お支払金額: [""]}
    web21:
      files: web21*.csv
      header: false
      calendar: japanese
      day: ["3"]
      amount: "7"
      payer: "15"
      payer_code: "14"
      reference: "2"
      account: "0009-001-2-0000042"
      receipts: {"1": ["2"], "5": ["1"], "6": ["11"]}
"""


@cache
def billing(text: str = OWN_FORMATS) -> BillingSettings:
    return parse_settings(text, "own.yaml").of(BillingSettings)


def formats(**changes: Any) -> dict[str, PaymentFormatSettings]:
    """The formats, with another own one."""
    known = billing().payment_formats
    return known | {name: PaymentFormatSettings(**values) for name, values in changes.items()}


def csv(*lines: str, encoding: str = "cp932") -> bytes:
    return "\r\n".join([*lines, ""]).encode(encoding)


def read(content: bytes, name: str = "b.csv") -> tuple[Transfer, ...]:
    return parse_bank_csv(content, name, formats()).transfers


def refusal(content: bytes, name: str = "b.csv", **changes: Any) -> str:
    with pytest.raises(ParameterError) as refused:
        parse_bank_csv(content, name, formats(**changes))
    assert str(refused.value).startswith(f"銀行のファイル '{name}' ")
    return str(refused.value)


@pytest.mark.parametrize("encoding", ["cp932", "utf-8", "utf-8-sig", "utf-16"])
def test_a_download_is_read_in_each_encoding(encoding: str) -> None:
    assert read(csv(BIZSTATION, biz_row(), encoding=encoding)) == (TRANSFER,)


def test_deposits_that_are_no_transfers_are_summed_up() -> None:
    others = [biz_row(flow=f"1,{kind}", amount="000000000100") for kind in ("10", "14", "10")]
    content = csv(BIZSTATION, biz_row(flow="2,14"), "", biz_row(), *others)
    found = parse_bank_csv(content, "b.csv", formats())

    assert found.form == "mufg_bizstation"
    assert list(map(str, found.left_out)) == ["取引区分「10」: 2 件 200 円", "取引区分「14」: 1 件 100 円"]
    assert found.transfers == (replace(TRANSFER, line=4),)


def test_the_reasons_of_a_file_are_limited() -> None:
    content = csv(BIZSTATION, biz_row(), *(biz_row(flow=f"1,{kind}") for kind in range(20, 35)))
    *_, last = parse_bank_csv(content, "b.csv", formats()).left_out

    assert str(last) == "ほかの理由: 5 件 550,000 円"


def test_a_file_whose_deposits_are_no_transfers_is_refused() -> None:
    message = refusal(csv(BIZSTATION, biz_row(flow="1,14"), biz_row(flow="1,10"), biz_row(flow="2,11")))

    assert "取引区分「10」: 1 件 110,000 円、取引区分「14」: 1 件 110,000 円" in message
    assert "設定 billing.payment_formats.mufg_bizstation の receipts" in message
    assert read(csv(BIZSTATION, biz_row(flow="2,11"))) == ()


def test_values_of_a_format_have_any_width() -> None:
    form = formats()["mufg_bizstation"]
    wide = PaymentFormatSettings(
        **form.model_dump() | {"receipts": {"摘要": ("ﾌﾘｺﾐ",), "取引区分": ("１１",)}}
    )

    assert parse_bank_csv(csv(BIZSTATION, biz_row()), "b.csv", {"own": wide}).transfers == (TRANSFER,)


def test_a_signed_file_with_totals_has_payments_out() -> None:
    signed = {
        "files": "signed*.csv",
        "lines_after": 2,
        "day": ("日付",),
        "amount": "金額",
        "signed": True,
        "payer": "摘要",
        "account": OWN_ACCOUNT,
        "receipts": {"種類": ("振込",)},
    }
    lines = [
        "日付,種類,摘要,金額",
        '2026.11.27,振込,ｶ)ｱｵﾊﾞ,"110,000"',
        "2026.11.28,振込,ｶ)ｼｲﾚ,-5000",
        "",
        "件数,,,2",
        "合計,,,105000",
    ]
    found = parse_bank_csv(csv(*lines), "signed.csv", formats(signed=signed))

    assert [(each.booked_on, each.amount) for each in found.transfers] == [
        (date(2026, 11, 27), Decimal(110_000))
    ]
    assert found.left_out == ()

    # A row that the setting takes for a total, a cancellation, and a file that is shorter than its totals.
    with pytest.raises(ParameterError, match="lines_after"):
        parse_bank_csv(csv(*lines[:3]), "signed.csv", formats(signed=signed))
    with_cancellations = {**signed, "lines_after": 0, "cancellations": {"種類": ("取消",)}}
    cancelled = csv(lines[0], lines[1], lines[1].replace("振込", "取消").replace('"110,000"', '"-110,000"'))
    rows = parse_bank_csv(cancelled, "signed.csv", formats(signed=with_cancellations)).transfers
    assert [(int(each.amount), each.is_cancellation) for each in rows] == [(110_000, False), (110_000, True)]
    with pytest.raises(ParameterError):
        parse_bank_csv(csv(lines[0], lines[1]), "signed.csv", formats(signed=signed))


def test_a_correction_by_the_bank_is_a_cancellation() -> None:
    assert read(csv(BIZSTATION, biz_row(flow="2,19"))) == (replace(TRANSFER, is_cancellation=True),)


def test_the_payer_follows_the_prefix() -> None:
    content = csv(
        SMBC,
        '2026/11/27,,"33,000","振込　ﾕ)ﾐﾄﾞﾘ",100000,"",',
        '2026/11/27,33000,,"振込　ﾕ)ﾐﾄﾞﾘ",67000,"",',
        '2026/11/27,,826,"振込手数料　返金",67000,"",',
        '2026/11/27,,4,"普通預金利息",67004,"",',
        '2026/11/27,,5,"振込",67009,"",',
    )
    found = parse_bank_csv(content, "b.csv", formats())

    first = Transfer("0009-001-2-0000042", date(2026, 11, 27), Decimal(33_000), "ﾕ)ﾐﾄﾞﾘ", line=2)
    assert found.transfers == (first, replace(first, amount=Decimal(5), payer_name="", line=6))
    reason = "お取り扱い内容が「振込」で始まらない"
    assert [(each.reason, each.rows, each.total) for each in found.left_out] == [(reason, 2, Decimal(830))]


def test_a_day_may_be_in_three_columns() -> None:
    header = "操作日(年),操作日(月),操作日(日),操作時刻(時),操作時刻(分),操作時刻(秒),取引順番号,摘要,お支払金額,お預り金額,残高,メモ"
    row = '"2026","11","27","9","5","0","20260001","振込 ｶ)ｱｵﾊﾞ","","110,000","210,000","-"'

    assert read(csv(header, row)) == (
        Transfer("0009-001-2-0000042", TRANSFER.booked_on, Decimal(110_000), "ｶ)ｱｵﾊﾞ", "", "20260001", "-", line=2),
    )  # fmt: skip


def test_a_file_without_header_is_known_by_its_name() -> None:
    content = csv(
        "1,03,0,081127,081127,081127,0009,ﾐﾂｲｽﾐﾄﾓ,001,ﾎﾝﾃﾝ,0,2,0000000042,ｶ)ﾜﾚﾜﾚ,,,,",
        "2,1001,081127,081127,1,11,550000,0,,,,,,999,ｶ)ｻﾝﾌﾟﾙ,ﾐﾂﾋﾞｼUFJ,ﾎﾝｺﾞｳ,ﾌﾘｺﾐ,EDI001,",
        "8,1,550000,0,0",
        "9",
    )
    assert read(content, "WEB21-1127.CSV") == (
        Transfer("0009-001-2-0000042", TRANSFER.booked_on, Decimal(550_000), "ｶ)ｻﾝﾌﾟﾙ", "999", "1001", line=2),
    )
    assert "形式が分かりません" in refusal(content)


def test_lines_before_the_header_are_left_out() -> None:
    own: dict[str, Any] = {
        "lines_before": 2,
        "day": ["取引日"],
        "amount": "受入金額",
        "payer": "詳細",
        "receipts": {},
        "account": OWN_ACCOUNT,
    }
    content = csv("口座,0123", "", "取引日,受入金額,詳細", '20261127,"110,000",ｶ)ｱｵﾊﾞ')
    own_formats = {"yucho": PaymentFormatSettings(**own)}

    (found,) = parse_bank_csv(content, "b.csv", own_formats).transfers
    assert (found.booked_on, found.amount, found.line) == (TRANSFER.booked_on, Decimal(110_000), 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv(BIZSTATION, biz_row(day="081131")), "2 行目「取引日」: '081131' は日付ではありません"),
        (csv(BIZSTATION, biz_row(day="2026/11/27")), "2 行目「取引日」: '2026/11/27' は日付ではありません"),
        (csv(BIZSTATION, biz_row(amount="")), "2 行目「取引金額」: '' は円の金額ではありません"),
        (csv(BIZSTATION, biz_row(amount="0")), "2 行目「取引金額」: '0' は円の金額ではありません"),
        (csv(BIZSTATION, biz_row(amount="-5")), "2 行目「取引金額」: '-5' は円の金額ではありません"),
        (csv(BIZSTATION, biz_row(amount="1.5")), "2 行目「取引金額」: '1.5' は円の金額ではありません"),
        (csv(BIZSTATION, biz_row(payer="ｶ)\x00ｱ")), "2 行目「振込依頼人名」: 制御文字か、見えない文字があります"),
        (csv(BIZSTATION, biz_row(payer="ｶ\u202eｱ"), encoding="utf-8"), "2 行目「振込依頼人名」: 制御文字か"),
        (csv(BIZSTATION, biz_row().replace('"123"', '"X23"')), "2 行目「口座番号」: '0005-X23-1-1234567' は口座ではありません"),
        (csv(BIZSTATION, biz_row().replace('"0001234567"', '"12345678"')), "は口座ではありません"),
        (csv(BIZSTATION, biz_row() + ",余り"), "2 行目「列」: 列が 21 個です（20 個のはずです）"),
        (csv(BIZSTATION, biz_row().rsplit(",", 3)[0]), "2 行目「列」: 列が 17 個です"),
        (csv(BIZSTATION, biz_row().replace('"A-1"', '"A-1')), "2 行目を CSV として読めません"),
        (csv("請求書番号,入金日,金額,通貨,方法,参照番号", "INV-1,2026-11-27,1,JPY,振込,F"), "操作「入金ファイルの取込み」で"),
        (csv("日付,摘要,入金", "2026-11-27,振込,1"), "形式（mufg_bizstation、smbc_direct、paypay、web21）の CSV を"),
        (csv(BIZSTATION.replace("取引金額", "取引日")), "の形式が分かりません"),
        (b"", "の形式が分かりません"),
        (b"\xff\xfe\x00", "の文字コードが分かりません"),
    ],
)  # fmt: skip
def test_a_refusal_names_line_and_column(content: bytes, message: str) -> None:
    assert message in refusal(content)


def test_a_format_without_account_says_where_to_write_it() -> None:
    with pytest.raises(ParameterError, match=r"設定 billing\.payment_formats\.smbc_direct\.account に"):
        parse_bank_csv(csv(SMBC), "b.csv", BillingSettings.load().payment_formats)


def test_two_accounts_with_equal_files_are_told_apart_by_name() -> None:
    second = {
        "day": ["年月日"],
        "amount": "お預入れ",
        "payer": "お取り扱い内容",
        "receipts": {"お引出し": [""]},
        "account": OWN_ACCOUNT,
    }
    assert "（smbc_direct、second）に合います。files でファイル名を分けてください" in refusal(
        csv(SMBC), second=second
    )
    found = parse_bank_csv(csv(SMBC), "a.csv", formats(second=second | {"files": "second*"}))
    assert found.form == "smbc_direct"


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("own_accounts: [0005-123-1-123]", "0001-001-1-1234567（銀行-支店-種目-口座番号）の形にしてください"),
        ("payment_formats: {smbc_direct: {account: '1'}}", "0001-001-1-1234567（銀行-支店-種目-口座番号）の形にしてください"),
        ("payment_formats: {smbc_direct: {day: [年, 月]}}", "日付の列を 1 つ、または年・月・日の列を 3 つ書いてください"),
        ("payment_formats: {smbc_direct: {header: false}}", "header: false には、files と、列の番号"),
        ("payment_formats: {smbc_direct: {lines_before: -1}}", "0 以上 100 以下の整数にしてください"),
        ("payment_formats: {x: {day: [日]}}", "この設定が必要です"),
    ],
)  # fmt: skip
def test_a_wrong_format_is_named_in_the_settings(own: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        billing(f"billing: {{{own}}}")
    assert message in str(refused.value)


# All formats -------------------------------------------------------------------------------------------------------------


def test_both_formats_of_a_bank_give_the_same_ids() -> None:
    of_zengin = read_bank_file(zengin_file([replace(TRANSFER, details="")]), "b.txt", billing(), TODAY)
    of_csv = read_bank_file(csv(BIZSTATION, biz_row()), "b.csv", billing(), TODAY)

    assert (of_zengin.form, of_csv.form) == ("zengin", "mufg_bizstation")
    assert [each for each, _ in identified(of_zengin.transfers)] == [
        each for each, _ in identified(of_csv.transfers)
    ]


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        (replace(TRANSFER, account="0009-001-1-0000042"), "2 件目のレコード「口座」: 0009-001-1-0000042 は設定 billing.own_accounts に"),
        (replace(TRANSFER, booked_on=TODAY + timedelta(1)), "2 件目のレコード「日付」: 2026-11-29 は今日（2026-11-28）より後か"),
        (replace(TRANSFER, booked_on=TODAY - timedelta(401)), "2 件目のレコード「日付」: 2025-10-23 は今日"),
    ],
)  # fmt: skip
def test_a_transfer_that_cannot_be_ours_is_refused(transfer: Transfer, message: str) -> None:
    with pytest.raises(ParameterError) as refused:
        read_bank_file(zengin_file([replace(transfer, details="")] * 3), "b.txt", billing(), TODAY)
    assert message in str(refused.value)
    assert str(refused.value).count("「口座」") <= 1


@pytest.mark.parametrize("days", [0, 400])
def test_the_first_and_the_last_day_are_read(days: int) -> None:
    transfer = replace(TRANSFER, booked_on=TODAY - timedelta(days), details="")
    assert len(read_bank_file(zengin_file([transfer]), "b.txt", billing(), TODAY).transfers) == 1


def test_a_file_with_too_many_bytes_or_rows_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"20 MB を超えています。期間を分けて"):
        read_bank_file(bytes(20_000_001), "b.txt", billing(), TODAY)
    row = '2026/11/27,,1,振込,0,"",\r\n'
    many = f"{SMBC}\r\n{row * 100_000}".encode("cp932")
    with pytest.raises(ParameterError, match=r"100,000 行を超えています。期間を分けて"):
        read_bank_file(many, "b.csv", billing(), TODAY)


@given(st.binary(max_size=500) | st.text(max_size=200).map(lambda rest: (BIZSTATION + "\n" + rest).encode()))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        outcome = read_bank_file(content, "b.csv", billing(), TODAY).form
    except ParameterError as refused:
        outcome = str(refused)
    assert outcome.startswith(("zengin", "mufg_bizstation", "銀行のファイル 'b.csv' "))
