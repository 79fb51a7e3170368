"""The banks' file of received transfers is read as a whole or not at all, and a refusal names record and field."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.billing.receivables.zengin import is_zengin, parse_zengin
from include.skillreport.core.errors import ParameterError
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

OTHER_ACCOUNT = "0009-001-2-0000042"
FIRST = Transfer(
    OWN_ACCOUNT, date(2026, 11, 26), Decimal(110_000), "ｶ)ｱｵﾊﾞｼﾖｳｼﾞ", "0000000042", "000123", "EDI A-1", line=2
)
SECOND = Transfer(OWN_ACCOUNT, date(2026, 11, 27), Decimal(5_500), "ﾔﾏﾀﾞ ﾀﾛｳ", line=3)
CANCELLED = replace(SECOND, is_cancellation=True, line=4)
THIRD = Transfer(OTHER_ACCOUNT, date(2026, 11, 27), Decimal(33_000), "ﾕ)ﾐﾄﾞﾘ", line=7)
TRANSFERS = (FIRST, SECOND, CANCELLED, THIRD)
FILE = zengin_file(TRANSFERS)

# The fields of the records: name, first byte, length.
AMOUNT, DAY, CANCELLATION = 19, 7, 127


def changed(record: int, at: int, value: bytes, content: bytes = FILE) -> bytes:
    """The file with other bytes in the record, from 1, at the byte, from 0."""
    start = (record - 1) * 202 + at
    return content[:start] + value + content[start + len(value) :]


def refusal(content: bytes) -> str:
    with pytest.raises(ParameterError) as refused:
        parse_zengin(content, "b.txt")
    assert str(refused.value).startswith("銀行のファイル 'b.txt' ")
    assert "。" in str(refused.value)
    return str(refused.value)


def outcome(content: bytes) -> str:
    """The form of a file that can be read, or the reason to refuse it."""
    try:
        return parse_zengin(content, "b.txt").form
    except ParameterError as refused:
        return str(refused)


def sums(content: bytes) -> tuple[Decimal, Decimal]:
    """The sums of the transfers and of the cancelled ones in a file that can be read."""
    transfers = parse_zengin(content, "b.txt").transfers
    cancelled = sum((each.amount for each in transfers if each.is_cancellation), Decimal(0))
    return sum((each.amount for each in transfers), Decimal(0)), cancelled


@pytest.mark.parametrize("end", [b"", b"\x1a", b"\r\n\x1a", b"\n"])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b""])
def test_all_line_ends_of_banks_are_read(line_end: bytes, end: bytes) -> None:
    content = zengin_file(TRANSFERS, line_end=line_end) + end

    assert is_zengin(content)
    assert parse_zengin(content, "b.txt").transfers == TRANSFERS


@pytest.mark.parametrize("with_cancelled", [True, False])
def test_cancelled_transfers_are_in_the_total_or_beside_it(with_cancelled: bool) -> None:
    assert parse_zengin(zengin_file(TRANSFERS, with_cancelled=with_cancelled), "b").transfers == TRANSFERS


def test_a_day_without_transfers_is_a_file_too() -> None:
    assert parse_zengin(zengin_file([], accounts=[OWN_ACCOUNT]), "b").transfers == ()


def test_optional_fields_may_be_blank() -> None:
    blank = changed(2, 1, b" " * 6, changed(1, 4, b" " * 18))
    blank = changed(5, 19, b" " * 18, changed(2, 39, b" " * 10, blank))
    first, *_ = parse_zengin(changed(3, CANCELLATION, b" ", blank), "b").transfers

    assert first == replace(FIRST, reference="", payer_code="")


def test_people_see_the_sender_and_cheques() -> None:
    content = changed(2, 29, b"0000001000" + b"0" * 10)
    content = changed(2, 97, f"{'ﾐｽﾞﾎ':15}{'ｼﾌﾞﾔ':15}".encode("cp932"), content)

    assert parse_zengin(content, "b").transfers[0].details == "EDI A-1、仕向 ﾐｽﾞﾎ ｼﾌﾞﾔ、うち他店券 1,000 円"


def test_amounts_of_twelve_digits_are_read() -> None:
    large = replace(SECOND, amount=Decimal(123_456_789_012), line=2)
    small = replace(FIRST, line=3)

    assert parse_zengin(zengin_file([large, small], wide=True), "b").transfers == (large, small)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(2, AMOUNT, b"00001100O0"), "2 件目のレコード「金額」: '00001100O0' は数字ではありません"),
        (changed(2, AMOUNT, b"0000000000"), "2 件目のレコード「金額」: 0 円です"),
        (changed(2, AMOUNT, b"0000110001"), "5 件目のレコード「振込合計金額」: 3 件 121,000 円ですが、データは 3 件 121,001 円です"),
        (changed(5, 1, b"000004"), "5 件目のレコード「振込合計金額」: 4 件 121,000 円ですが、データは 3 件"),
        (changed(5, 1, b"      "), "5 件目のレコード「振込合計金額」: 0 件"),
        (changed(5, 19, b"000000"), "5 件目のレコード「取消合計金額」: 0 件 5,500 円ですが、取消のデータは 1 件"),
        (changed(3, CANCELLATION, b"1"), "5 件目のレコード「取消合計金額」"),
        (changed(3, CANCELLATION, b"2"), "3 件目のレコード「取消区分」: '2' は"),
        (changed(2, DAY, b"081131"), "2 件目のレコード「勘定日」: '081131' は令和の日付"),
        (changed(2, DAY, b"001126"), "2 件目のレコード「勘定日」: '001126' は令和の日付"),
        (changed(2, DAY, b"261126"), "2 件目のレコード「勘定日」: 2044-11-26 はヘッダーの勘定日（2026-11-26〜2026-11-27）の外です"),
        (changed(2, DAY, b"      "), "2 件目のレコード「勘定日」: '      ' は令和の日付"),
        (changed(1, 10, b"08112X"), "1 件目のレコード「勘定日（自）」"),
        (changed(1, 22, b"00O5"), "1 件目のレコード「銀行コード」: '00O5' は数字ではありません"),
        (changed(1, 59, b"9"), "1 件目のレコード「預金種目」: '9' は普通（1）、当座（2）、貯蓄（4）のどれでもありません"),
        (changed(1, 60, b" 123456"), "1 件目のレコード「口座番号」: ' 123456' は数字ではありません"),
        (changed(2, 49, "青".encode("cp932")), "2 件目のレコード「文字」: 50 バイト目（90）は JIS X 0201 の文字ではありません"),
        (changed(2, 49, b"\x00"), "2 件目のレコード「文字」: 50 バイト目（00）"),
        (changed(2, 0, b"3"), "2 件目のレコード「データ区分」: '3' です（2 か 8 のはずです）"),
        (changed(5, 0, b"2"), "6 件目のレコード「データ区分」: '1' です（2 か 8 のはずです）"),
        (FILE + FILE, "10 件目のレコード「データ区分」: '1' です（ファイルの終わり のはずです）"),
        (FILE[:-2] + b" \r\n", "9 件目のレコードは 201 バイトです（200 バイトのはずです）"),
        (FILE.decode("cp932").encode(), "1 件目のレコードは"),
        (b"\xef\xbb\xbf" + FILE, "1 件目のレコードは 203 バイトです"),
        (changed(1, 3, b"1"), "EBCDIC（コード区分 1）です"),
        (b"\xf1\xf0\xf1\xf1" + b"\x40" * 196, "EBCDIC（コード区分 1）です"),
        (changed(1, 1, b"03"), "入出金取引明細（種別コード 03）です。振込入金通知（種別コード 01）か、銀行の CSV を"),
        (changed(1, 1, b"21"), "種別コード 21 の全銀ファイルです"),
    ],
)  # fmt: skip
def test_a_refusal_names_record_and_field(content: bytes, message: str) -> None:
    assert is_zengin(content)
    assert message in refusal(content)


def test_all_problems_are_named_at_once_and_the_rest_counted() -> None:
    content = zengin_file([replace(SECOND, amount=Decimal(number)) for number in range(1, 15)])
    for record in range(2, 16):
        content = changed(record, DAY, b"081131", content)

    message = refusal(content)
    assert message.count("件目のレコード「勘定日」") == 10
    assert message.endswith("ほか 4 件。")


@pytest.mark.parametrize("line_end", [b"\r\n", b""])
def test_a_file_that_ends_early_is_refused(line_end: bytes) -> None:
    content = zengin_file(TRANSFERS, line_end=line_end)
    length = 200 + len(line_end)
    whole = len(content) - len(line_end)
    for end in sorted({*range(length, whole, length), *range(30, whole, 37)}):
        refusal(content[:end])


@pytest.mark.parametrize("content", ["請求書番号,入金日\n".encode(), b"1,03,0,081127\n", b"", b"1", b"1010"])
def test_other_files_are_no_zengin(content: bytes) -> None:
    assert not is_zengin(content)


half_width = st.text("".join(map(chr, range(0xFF66, 0xFFA0))) + "ABCXYZ0189()-./ ", max_size=48).map(
    str.strip
)
any_transfers = st.lists(
    st.builds(
        Transfer,
        account=st.sampled_from([OWN_ACCOUNT, OTHER_ACCOUNT]),
        booked_on=st.dates(date(2019, 5, 1), date(2099, 12, 31)),
        amount=st.integers(1, 10**10 - 1).map(Decimal),
        payer_name=half_width,
        payer_code=st.sampled_from(["", "0000000001", "9999999999"]),
        reference=st.sampled_from(["", "000001", "999999"]),
        details=st.sampled_from(["", "EDI 1", f"EDI {'9' * 20}"]),
        is_cancellation=st.booleans(),
    ),
    max_size=8,
)


@given(any_transfers, st.booleans(), st.booleans())
def test_a_written_file_is_read_unchanged(
    transfers: list[Transfer], wide: bool, with_cancelled: bool
) -> None:
    content = zengin_file(transfers, accounts=[OWN_ACCOUNT], wide=wide, with_cancelled=with_cancelled)
    found = parse_zengin(content, "b.txt")

    assert found.form == "zengin"
    by_account = sorted(transfers, key=lambda each: each.account != OWN_ACCOUNT)
    assert [replace(each, line=0) for each in found.transfers] == by_account
    assert all(one.line < other.line for one, other in pairwise(found.transfers))


@settings(max_examples=2_000)
@given(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=1))
def test_a_damaged_byte_is_refused_or_changes_no_sum(at: int, byte: bytes) -> None:
    content = FILE[:at] + byte + FILE[at + 1 :]
    if not is_zengin(content):
        return
    try:
        found = sums(content)
    except ParameterError:
        return
    assert found == sums(FILE)


@given(st.binary(max_size=1_000) | st.binary(max_size=600).map(lambda rest: FILE[:202] + rest))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert outcome(content).startswith(("zengin", "銀行のファイル 'b.txt' "))
