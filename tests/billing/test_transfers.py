"""A transfer has one id and its payer one key, whatever the file and the spelling."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.skillreport.billing.receivables.transfer import Transfer, identified, payer_key

TRANSFER = Transfer(
    "0005-123-1-1234567", date(2026, 11, 27), Decimal(110_000), "ｶ)ｱｵﾊﾞ", "0000000042", "000123"
)

# As 京葉銀行 and the list of its page spell them.
FORMS = re.findall(
    r"\w+",
    "カ ユ メ シ ド ソ イ ザイ シヤ シユウ ガク フク ホゴ トクヒ チドク ドク ダイ ベン シホウ ギヨ ゼイ ロウム ノウ カンリ チユウ",
)

KANA = "".join(map(chr, range(0xFF66, 0xFFA0)))


def ids(transfers: list[Transfer]) -> list[str]:
    return [each for each, _ in identified(transfers)]


def test_an_id_has_the_day_and_is_the_same_in_each_run() -> None:
    # Recorded transfers have these ids: a change here would import all transfers again.
    assert ids([TRANSFER]) == ["T261127-a1de77e09fd6"]


@pytest.mark.parametrize(
    "other",
    [
        replace(TRANSFER, account="0005-123-1-7654321"),
        replace(TRANSFER, booked_on=TRANSFER.booked_on + timedelta(1)),
        replace(TRANSFER, amount=Decimal(110_001)),
        replace(TRANSFER, payer_name="ﾕ)ｱｵﾊﾞ"),
        replace(TRANSFER, payer_code="0000000043"),
        replace(TRANSFER, reference="000124"),
        replace(TRANSFER, is_cancellation=True),
    ],
)
def test_another_statement_of_the_bank_makes_another_id(other: Transfer) -> None:
    assert len({*ids([TRANSFER]), *ids([other])}) == 2


@pytest.mark.parametrize(
    "same",
    [
        replace(TRANSFER, line=7, details="EDI A-1"),
        replace(TRANSFER, payer_name="カ）アオバ"),
        replace(TRANSFER, payer_code="42", reference="123", amount=Decimal("110000.0")),
    ],
)
def test_another_spelling_of_the_same_transfer_has_its_id(same: Transfer) -> None:
    assert ids([same]) == ids([TRANSFER])


def test_equal_transfers_of_a_day_are_counted() -> None:
    other = replace(TRANSFER, amount=Decimal(1))
    first, second, third, fourth = ids([TRANSFER, other, TRANSFER, TRANSFER])
    assert len({first, second, third, fourth}) == 4
    # A file of the morning has one of them, and the file of the evening all.
    assert ids([TRANSFER, TRANSFER]) == [first, third]


@given(st.lists(st.sampled_from([TRANSFER, replace(TRANSFER, amount=Decimal(1)), replace(TRANSFER, line=9)])))
def test_the_order_of_other_transfers_changes_no_id(transfers: list[Transfer]) -> None:
    assert sorted(ids(transfers)) == sorted(ids(transfers[::-1]))
    assert len(set(ids(transfers))) == len(transfers)
    assert all(re.fullmatch("T261127-[0-9a-f]{12}", each) for each in ids(transfers))


@pytest.mark.parametrize(
    "name",
    [
        "ｶ)ｱｵﾊﾞｼﾖｳｼﾞ",
        "カ）アオバショウジ",
        "（カ）アオバショウジ",
        "ｶ.ｱｵﾊﾞ ｼｮｳｼﾞ",
        "カ)あおば　しょうじ",
        "カ)アオハ゛シヨウシ゛",
        "株式会社アオバ商事".replace("商事", "ショウジ"),
        "㈱アオバショウジ",
        "(株)アオバ・ショウジ",
        "㍿アオバショウジ",
    ],
)
def test_the_spellings_of_a_company_have_one_key(name: str) -> None:
    assert payer_key(name) == "[ｶ]ｱｵﾊﾞｼﾖｳｼﾞ"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("アオバ(カ", "ｱｵﾊﾞ[ｶ]"),
        ("アオバ(カ)", "ｱｵﾊﾞ[ｶ]"),
        ("アオバ株式会社", "ｱｵﾊﾞ[ｶ]"),
        ("アオバ(カ)チバシテン", "ｱｵﾊﾞ[ｶ]ﾁﾊﾞｼﾃﾝ"),
        ("一般社団法人アオバ", "[ｼﾔ]ｱｵﾊﾞ"),
        ("医療法人社団アオバ会", "[ｲ]ｱｵﾊﾞ会"),
        ("トクヒ）アオバ", "[ﾄｸﾋ]ｱｵﾊﾞ"),
        ("シユウ)アオバ", "[ｼﾕｳ]ｱｵﾊﾞ"),
        ("カアオバ", "ｶｱｵﾊﾞ"),
        ("アオバ)カ", "ｱｵﾊﾞ)ｶ"),
        ("タナカ　タロウ", "ﾀﾅｶﾀﾛｳ"),
        ("Ａ．Ｂ．ｼｮｳｶｲ", "ABｼﾖｳｶｲ"),
        ("フーズ", "ﾌ-ｽﾞ"),
        ("フ−ズ", "ﾌ-ｽﾞ"),
        ("ﾌ-ｽﾞ", "ﾌ-ｽﾞ"),
        ("ヴィ￥ヱヰ", "ｳﾞｲ¥ｴｲ"),
        ("ｳﾞｨ\\ｴｲ", "ｳﾞｲ¥ｴｲ"),
        ("", ""),
    ],
)
def test_the_key_of_a_name(name: str, key: str) -> None:
    assert payer_key(name) == key


@pytest.mark.parametrize(("one", "other"), combinations(["", *FORMS], 2))
def test_companies_of_different_forms_differ(one: str, other: str) -> None:
    spelled = [
        [f"{form})アオバ", f"アオバ({form}", f"アオバ({form})チバ"]
        if form
        else ["アオバ", "アオバ", "アオバチバ"]
        for form in (one, other)
    ]
    for first, second in zip(*spelled, strict=True):
        assert payer_key(first) != payer_key(second)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_before_the_name_is_another_company_than_after_it(form: str) -> None:
    assert payer_key(f"{form})アオバ") != payer_key(f"アオバ({form}")


@given(st.text())
@example("ト ﾞ)")
def test_a_key_is_its_own_key(name: str) -> None:
    assert payer_key(payer_key(name)) == payer_key(name)


@given(st.text(KANA + "ABC012()-. ", max_size=48))
def test_neither_width_nor_case_nor_blanks_change_a_key(name: str) -> None:
    key = payer_key(name)
    assert payer_key(unicodedata.normalize("NFKC", name)) == key
    assert payer_key(name.lower()) == key
    assert payer_key(name.replace(" ", "　")) == key
    assert payer_key(f" {name}　") == key
    assert not re.search(r"\s", key)
