"""A payment file is read as a whole or not at all, and a refusal names line and column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from include.skillreport.billing.receivables.payment import Payable, Payment
from include.skillreport.billing.receivables.payment_file import (
    FileRow,
    is_payment_file,
    parse_payments,
    require_recordable,
)
from include.skillreport.core.errors import ParameterError

HEADER = "請求書番号,入金日,金額,通貨,方法,参照番号\n"
NUMBER = "INV-2026-10-001"
ROW = f'{NUMBER},2026/11/5,"11,000",JPY,銀行振込,F-1\n'
PAYMENT = Payment(NUMBER, date(2026, 11, 5), Decimal(11000), "JPY", "銀行振込", "F-1")
TODAY = date(2026, 12, 10)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
def test_a_file_is_read_in_the_encodings_of_spreadsheets(encoding: str) -> None:
    content = (HEADER + "\n" + ROW).replace("\n", "\r\n").encode(encoding)

    assert parse_payments(content, "a.csv") == [FileRow(3, PAYMENT)]
    assert is_payment_file(content[: len(content) * 2 // 3])
    assert not is_payment_file(content[6:])


@pytest.mark.parametrize(
    "amount",
    ["￥11,000", "¥11000", "\\11,000", "11,000円", "11,000 円", "￥ 11,000", "１１，０００", "１１０００円"],
)
@pytest.mark.parametrize(
    "day", ["2026年11月5日", "２０２６年１１月０５日", "2026/11/5", "２０２６－１１－０５"]
)
def test_amounts_and_days_are_read_as_banks_and_spreadsheets_write_them(amount: str, day: str) -> None:
    row = f'ＩＮＶ－2026-10-001,{day},"{amount}",ＪＰＹ,銀行振込,F-1\n'

    assert parse_payments((HEADER + row).encode(), "a.csv") == [FileRow(2, PAYMENT)]


def test_unicode_text_of_excel_is_separated_by_tabs() -> None:
    content = (HEADER + ROW.replace('"11,000"', "11000")).replace(",", "\t")

    assert parse_payments(content.encode("utf-16"), "a.txt") == [FileRow(2, PAYMENT)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("INV-1,2026-11-31,1,JPY,振込,F\n", "2 行目「入金日」: '2026-11-31' は日付ではありません"),
        ("INV-1,30.11.2026,1,JPY,振込,F\n", "2 行目「入金日」: '30.11.2026' は日付ではありません"),
        ("INV-1,2026-11-30,￥110,USD,振込,F\n", "2 行目「金額」: '￥110' は金額ではありません"),
        ("INV-1,2026-11-30,11¥0,JPY,振込,F\n", "2 行目「金額」: '11¥0' は金額ではありません"),
        ("INV-1,2026年13月1日,1,JPY,振込,F\n", "2 行目「入金日」: '2026年13月1日' は日付ではありません"),
        ("INV-1,2026-11-30,-5,JPY,振込,F\n", "2 行目「金額」: '-5' は金額ではありません"),
        ('INV-1,2026-11-30,"1,1000",JPY,振込,F\n', "2 行目「金額」: '1,1000' は金額ではありません"),
        ("INV-1,2026-11-30,1e3,JPY,振込,F\n", "2 行目「金額」: '1e3' は金額ではありません"),
        (
            "INV-1,2026-11-30,1000000000000000,JPY,振込,F\n",
            "2 行目「金額」: '1000000000000000' は金額ではありません",
        ),
        ("INV-1,2026-11-30,0.0000001,KWD,振込,F\n", "2 行目「金額」: '0.0000001' は金額ではありません"),
        ("INV-1,2026-11-30,1,JPY,振込,F\x00\n", "2 行目「参照番号」: 制御文字か、見えない文字があります"),
        ("INV-1,2026-11-30,1,JPY,振\u200b込,F\n", "2 行目「方法」: 制御文字か、見えない文字があります"),
        ("INV-1,2026-11-30,1,JPY,振込\n", "2 行目「請求書番号」: 列が 5 個です。6 個にしてください"),
        ("INV-1,2026-11-30,1,JPY,振込,\n", "2 行目「参照番号」: 空欄です"),
        (
            "INV-1,2026-11-30,1,JPY,振込,F\nINV-1,2026-11-30,2,JPY,振込,F\n",
            "3 行目「参照番号」: 請求書 INV-1 の 'F' は 2 行目にもあります",
        ),
        ("", "入金の行がありません"),
        ('INV-1,"2026-11-30,1,JPY,振込,F\n', "CSV として読めません"),
    ],
)
def test_a_refusal_names_line_and_column(rows: str, message: str) -> None:
    with pytest.raises(ParameterError) as refused:
        parse_payments((HEADER + rows).encode(), "a.csv")

    assert "入金ファイル 'a.csv'" in str(refused.value)
    assert message in str(refused.value)


def test_all_problems_are_named_up_to_ten() -> None:
    rows = "".join(f"INV-{number},x,y,JPY,振込,F\n" for number in range(6))

    with pytest.raises(ParameterError) as refused:
        parse_payments((HEADER + rows).encode(), "a.csv")

    assert str(refused.value).count("行目") == 10
    assert str(refused.value).endswith("ほか 2 件。")


@pytest.mark.parametrize("content", ["番号,日付\n", "", f"{HEADER.strip()},備考\n"])
def test_another_header_is_refused_with_the_right_one(content: str) -> None:
    with pytest.raises(ParameterError, match=HEADER.strip()):
        parse_payments(content.encode(), "a.csv")


def test_another_encoding_is_refused() -> None:
    with pytest.raises(ParameterError, match="文字コードが分かりません"):
        parse_payments(b"\xff\x00\x81", "a.csv")


def payable(**values: object) -> Payable:
    """An invoice of ¥11,000, issued on 1 November."""
    fields = {
        "invoice_id": "i",
        "tenant_id": "A",
        "number": NUMBER,
        "kind": "invoice",
        "status": "finalized",
        "currency": "JPY",
        "issued_on": date(2026, 11, 1),
        "open_amount": Decimal(11000),
    } | values
    return Payable(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "payment", "message"),
    [
        (None, PAYMENT, "「請求書番号」: 請求書 INV-2026-10-001 は存在しません"),
        (
            payable(status="void"),
            PAYMENT,
            "「請求書番号」: 請求書 INV-2026-10-001 は取消済みのため、入金を記録できません。差し替えた請求書はありません",
        ),
        (
            payable(status="void", replaced_by="INV-2026-10-007"),
            PAYMENT,
            "「請求書番号」: 請求書 INV-2026-10-001 は取消済みのため、入金を記録できません。"
            "差し替えた請求書 INV-2026-10-007 の番号を指定してください",
        ),
        (payable(kind="credit"), PAYMENT, "「請求書番号」: INV-2026-10-001 は返還"),
        (payable(currency="USD"), PAYMENT, "「通貨」: 請求書 INV-2026-10-001 の通貨は USD です"),
        (
            payable(issued_on=date(2026, 11, 6)),
            PAYMENT,
            "「入金日」: 請求書 INV-2026-10-001 の入金日 2026-11-05",
        ),
        (
            payable(),
            Payment(NUMBER, date(2026, 11, 5), Decimal("0.5"), "JPY", "銀行振込", "F-1"),
            "「金額」: 請求書 INV-2026-10-001 の入金額 0.5 JPY",
        ),
        (
            payable(),
            Payment(NUMBER, date(2026, 12, 11), Decimal(5), "JPY", "銀行振込", "F-1"),
            "「入金日」",
        ),
        (
            payable(),
            Payment(NUMBER, date(2026, 11, 5), Decimal(5), "JPY", "銀行振込", "F-9"),
            "「参照番号」: 請求書 INV-2026-10-001 の参照番号 'F-9' は、別の入金",
        ),
    ],
)
def test_a_payment_that_cannot_be_recorded_is_named_with_its_line(
    found: Payable | None, payment: Payment, message: str
) -> None:
    payables = {NUMBER: found} if found else {}
    recorded = {
        (NUMBER, "F-9"): Payment(NUMBER, date(2026, 11, 5), Decimal(9), "JPY", "銀行振込", "F-9"),
    }
    with pytest.raises(ParameterError) as refused:
        require_recordable([FileRow(7, payment)], "a.csv", payables, recorded, TODAY, set())

    assert f"7 行目{message}" in str(refused.value)


def test_a_payment_that_is_recorded_already_is_no_problem() -> None:
    require_recordable(
        [FileRow(2, PAYMENT)], "a.csv", {NUMBER: payable()}, {(NUMBER, "F-1"): PAYMENT}, TODAY, set()
    )
