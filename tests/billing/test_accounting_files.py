"""The accountant's files of a month: the detailed list, the journal, and the imports of freee and マネーフォワード."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.accounting import freee, journal, moneyforward
from include.skillreport.billing.accounting.csv_form import CsvForm, FileTally, write_forms
from include.skillreport.billing.accounting.detailed_list import COLUMNS, detailed_list
from include.skillreport.billing.accounting.entries import (
    BookEntry,
    Booking,
    CreditedInvoice,
    Receipt,
    postings,
)
from include.skillreport.billing.accounting.files import forms_of
from include.skillreport.billing.documents.credit_note import CreditedPart, credit_note
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExchangeRate
from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.settings import AccountingSettings, BillingSettings
from tests.worlds import sample_invoices as samples

SETTINGS = BillingSettings.load().accounting

# The last day of the samples' month.
BOOKED_ON = date(2026, 10, 31)

EVERY_SORT = [
    samples.ordinary(),
    samples.many_lines(),
    samples.mixed_rates(),
    samples.mixed_rates(tax_included=True),
    samples.us_dollars(),
    samples.kuwaiti_dinars(),
    samples.credit(),
    samples.rare_characters(),
    samples.long_names(),
    samples.markup_like(),
]

FREEE_HEADER = (
    "収支区分,管理番号,発生日,決済期日,取引先コード,取引先,勘定科目,税区分,金額,税計算区分,税額,備考,品目,部門,"
    "メモタグ（複数指定可、カンマ区切り）,セグメント1,セグメント2,セグメント3,決済日,決済口座,決済金額"
)
MONEYFORWARD_HEADER = (
    "取引No,取引日,借方勘定科目,借方補助科目,借方部門,借方取引先,借方税区分,借方インボイス,借方金額(円),借方税額,"
    "貸方勘定科目,貸方補助科目,貸方部門,貸方取引先,貸方税区分,貸方インボイス,貸方金額(円),貸方税額,"
    "摘要,仕訳メモ,タグ,MF仕訳タイプ,決算整理仕訳,作成日時,作成者,最終更新日時,最終更新者"
)


def entry(
    invoice: Invoice,
    booking: Booking = Booking.DOCUMENT,
    *,
    status: str = "finalized",
    yen_per_unit: str | None = None,
    partner_code: str = "0042",
    accrued_on: date | None = None,
) -> BookEntry:
    day = date(2026, 12, 3) if booking is Booking.REVERSAL else BOOKED_ON
    rate = (
        ExchangeRate(yen_per_unit=Decimal(yen_per_unit), rate_date=date(2026, 10, 30))
        if yen_per_unit
        else None
    )
    status = status if booking is Booking.DOCUMENT else "void"
    return BookEntry(booking, status, accrued_on or day, day, BOOKED_ON, invoice, partner_code, rate)


def written(form: CsvForm, *entries: BookEntry) -> bytes:
    stream = BytesIO()
    (tally,) = write_forms([(form, stream)], entries)
    content = stream.getvalue()
    assert tally.rows == len(_parsed(form, content))
    return content


def rows(form: CsvForm, *entries: BookEntry) -> list[dict[str, str]]:
    return _parsed(form, written(form, *entries))


def _parsed(form: CsvForm, content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode(form.encoding).split(form.line_end)))


def listed(*entries: BookEntry) -> list[dict[str, str]]:
    return rows(detailed_list(), *entries)


def cells(found: Iterable[dict[str, str]], *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in columns) for row in found]


def in_yen(invoice: Invoice) -> Invoice:
    """The dollar invoice without the tax in yen that the document states."""
    return invoice.model_copy(update={"yen_tax": None})


# The detailed list -------------------------------------------------------------------------------------------------------


def test_the_list_opens_in_japanese_excel() -> None:
    content = written(detailed_list(), entry(samples.ordinary()))
    assert content.startswith(b"\xef\xbb\xbf")
    heads, row, rest = content.decode("utf-8-sig").split("\r\n")
    assert heads == ",".join(COLUMNS)
    assert row == (
        "INV-2026-10-001,請求,確定,2026-10-31,2026-11-01,2026-11-30,2026-10-01,2026-10-31,aoba,株式会社青葉商事,JPY,"
        "課税10%,10,132455,13245,145700,,,13245,145700,,T1234567890123,"
    )
    assert rest == ""


@pytest.mark.parametrize("invoice", EVERY_SORT)
def test_the_lists_sums_over_the_rates_are_the_invoices_totals(invoice: Invoice) -> None:
    found = listed(entry(invoice))
    net, tax, gross = (
        sum(Decimal(row[column]) for row in found) for column in ("税抜金額", "消費税額", "税込金額")
    )
    assert (tax, gross) == (invoice.tax, invoice.total)
    assert net == invoice.total - invoice.tax
    assert [row["税区分"] for row in found] == list(dict.fromkeys(row["税区分"] for row in found))


def test_the_list_has_a_row_per_rate_with_net_amounts() -> None:
    found = listed(entry(samples.mixed_rates(tax_included=True)))
    assert cells(found, "税区分", "税率", "税抜金額", "消費税額", "税込金額") == [
        ("課税10%", "10", "45455", "4545", "50000"),
        ("軽減8%", "8", "4000", "320", "4320"),
        ("非課税", "", "1300", "0", "1300"),
    ]


def test_the_list_distinguishes_six_tax_categories() -> None:
    lines = [
        samples.line(position, category.label, "1000", category=category)
        for position, category in enumerate(TaxCategory, 1)
    ]
    assert [(row["税区分"], row["税率"]) for row in listed(entry(samples.invoice(lines)))] == [
        ("課税10%", "10"),
        ("軽減8%", "8"),
        ("非課税", ""),
        ("不課税", ""),
        ("免税（輸出）", ""),
        ("対象外", ""),
    ]


def test_the_list_has_a_foreign_currencys_tax_in_yen_too() -> None:
    (row,) = listed(entry(samples.us_dollars()))
    assert (row["通貨"], row["税込金額"]) == ("USD", "1700.24")
    assert (row["換算レート"], row["換算日"], row["消費税額（円）"]) == ("151.235", "2026-10-31", "23376")
    assert row["税込金額（円）"] == "257136"


def test_a_credit_is_a_return_with_negative_amounts_that_cancel_the_original() -> None:
    original, credit = listed(entry(samples.mixed_rates())), listed(entry(samples.credit()))
    assert {(row["種別"], row["元請求書番号"]) for row in credit} == {("返還", "INV-2026-10-001")}
    for column in ("税抜金額", "消費税額", "税込金額", "消費税額（円）", "税込金額（円）"):
        assert [-Decimal(row[column]) for row in credit] == [Decimal(row[column]) for row in original]


def test_a_void_invoice_is_listed_with_amounts_of_zero() -> None:
    found = listed(
        entry(samples.mixed_rates(), Booking.VOID), entry(in_yen(samples.us_dollars()), Booking.VOID)
    )
    assert {(row["種別"], row["状態"], row["取引日"]) for row in found} == {("請求", "取消", "2026-10-31")}
    assert [row["税込金額"] for row in found] == ["0", "0", "0", "0.00"]
    assert {
        Decimal(row[column])
        for row in found
        for column in ("税抜金額", "消費税額", "消費税額（円）", "税込金額（円）")
    } == {Decimal(0)}


def test_a_reversal_negates_the_invoice_on_the_day_of_the_void() -> None:
    found = listed(entry(samples.mixed_rates(), Booking.REVERSAL))
    assert cells(
        found, "請求書番号", "種別", "状態", "取引日", "発行日", "支払期限", "元請求書番号", "税込金額"
    ) == [
        ("INV-2026-10-001", "取消", "取消", "2026-12-03", "2026-11-01", "", "INV-2026-10-001", amount)
        for amount in ("-55000", "-4665", "-1300")
    ]


def test_an_invoice_without_lines_is_listed_for_its_number() -> None:
    (row,) = listed(entry(samples.invoice([])))
    assert cells([row], "請求書番号", "税区分", "税込金額") == [("INV-2026-10-001", "対象外", "0")]


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(KeyError, match="lost"):
        listed(entry(samples.ordinary(), status="lost"))


def test_an_entry_outside_its_month_says_why_in_all_files() -> None:
    late = entry(samples.ordinary(), accrued_on=date(2026, 9, 30))
    remark = "2026-09 は確定済みのため"
    assert cells(listed(late), "取引日", "備考") == [("2026-10-31", remark)]
    for form, column in (
        (journal.journal(SETTINGS), "摘要"),
        (freee.freee(SETTINGS), "備考"),
        (moneyforward.moneyforward(SETTINGS), "摘要"),
    ):
        assert all(row[column].endswith(f" （{remark}）") for row in rows(form, late)), form.name


# Texts -------------------------------------------------------------------------------------------------------------------


def _named(name: str) -> Invoice:
    recipient = samples.RECIPIENT.model_copy(update={"name": name})
    return samples.invoice(samples.ordinary().lines, recipient=recipient)


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+81", "-1", "@x", "\t=1", "\r=1", " =1", "＝1", "＋1", "－1", "＠x"]
)
def test_no_name_starts_a_formula_in_any_file(name: str) -> None:
    expected = f"'{name.strip()}"
    assert [row["請求先"] for row in listed(entry(_named(name)))] == [expected]
    (own,) = rows(journal.journal(SETTINGS), entry(_named(name)))[:1]
    assert own["取引先名"] == expected
    assert [row["取引先"] for row in rows(freee.freee(SETTINGS), entry(_named(name)))] == [expected]
    (imported,) = rows(moneyforward.moneyforward(SETTINGS), entry(_named(name)))
    assert (imported["借方取引先"], imported["貸方取引先"]) == (expected, expected)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x0b", "\u2028", "\x85"])
def test_a_line_break_in_a_name_breaks_no_row(line_break: str) -> None:
    booked = entry(_named(f"青葉{line_break}商事"))
    for form in forms_of(SETTINGS):
        lines = written(form, booked).decode(form.encoding).split(form.line_end)
        assert all("青葉 商事" in line for line in lines[1:-1]), form.name


def test_codes_and_negative_numbers_of_the_imports_have_no_apostrophe() -> None:
    booked = entry(samples.credit(), partner_code="-0042")
    for form in (journal.journal(SETTINGS), freee.freee(SETTINGS)):
        found = rows(form, booked)
        assert found[0]["取引先コード"] == "-0042"
        assert not any(cell.startswith("'") for row in found for cell in row.values())


def test_a_character_that_shift_jis_does_not_have_becomes_a_geta() -> None:
    settings = _with("moneyforward", encoding="cp932")
    content = written(moneyforward.moneyforward(settings), entry(_named("𠮷田商店")))
    assert "〓田商店" in content.decode("cp932")


def _with(form: str, **values: object) -> AccountingSettings:
    changed = getattr(SETTINGS, form).model_copy(update=values)
    return SETTINGS.model_copy(update={form: changed})


# Journal -----------------------------------------------------------------------------------------------------------------


def test_the_journal_debits_the_receivable_for_sales_and_tax_of_each_rate() -> None:
    found = rows(journal.journal(SETTINGS), entry(samples.mixed_rates()))
    assert cells(found, "行番号", "借方勘定科目", "借方金額", "貸方勘定科目", "貸方税区分", "貸方金額") == [
        ("1", "売掛金", "50000", "売上高", "課税10%", "50000"),
        ("2", "売掛金", "5000", "仮受消費税", "課税10%", "5000"),
        ("3", "売掛金", "4320", "売上高", "軽減8%", "4320"),
        ("4", "売掛金", "345", "仮受消費税", "軽減8%", "345"),
        ("5", "売掛金", "1300", "売上高", "非課税", "1300"),
    ]
    assert set(cells(found, "取引日", "伝票番号", "取引先コード", "取引先名", "摘要")) == {
        (
            "2026/10/31",
            "INV-2026-10-001",
            "0042",
            "株式会社青葉商事",
            "INV-2026-10-001 株式会社青葉商事 2026年10月分",
        )
    }


@pytest.mark.parametrize(
    ("booked", "day"),
    [
        (entry(samples.credit()), "2026/10/31"),
        (entry(samples.mixed_rates(), Booking.REVERSAL), "2026/12/03"),
    ],
)
def test_credit_notes_and_reversals_exchange_the_sides_of_the_journal(booked: BookEntry, day: str) -> None:
    original = rows(journal.journal(SETTINGS), entry(samples.mixed_rates()))
    taken_back = rows(journal.journal(SETTINGS), booked)
    sides = ("勘定科目", "補助科目", "部門", "税区分", "金額")
    assert cells(taken_back, *(f"借方{side}" for side in sides)) == cells(
        original, *(f"貸方{side}" for side in sides)
    )
    assert cells(taken_back, *(f"貸方{side}" for side in sides)) == cells(
        original, *(f"借方{side}" for side in sides)
    )
    assert {row["取引日"] for row in taken_back} == {day}


def test_freee_has_the_due_date_of_invoices_only() -> None:
    documents = (entry(samples.ordinary()), entry(samples.credit()))
    found = rows(freee.freee(SETTINGS), *documents)
    due = {row["管理番号"]: row["決済期日"] for row in found if row["管理番号"]}
    assert due == {samples.ordinary().number: "2026/11/30", samples.credit().number: ""}


def test_accounts_sub_accounts_and_departments_are_those_of_the_settings() -> None:
    settings = SETTINGS.model_copy(
        update={
            "sales": SETTINGS.sales.model_copy(
                update={"account": "SaaS 売上", "sub_account": "利用料", "department": "事業部"}
            )
        }
    )
    own = rows(journal.journal(settings), entry(samples.ordinary()))[0]
    assert cells([own], "貸方勘定科目", "貸方補助科目", "貸方部門") == [("SaaS 売上", "利用料", "事業部")]
    (deal,) = rows(freee.freee(settings), entry(samples.ordinary()))
    assert cells([deal], "勘定科目", "品目", "部門") == [("SaaS 売上", "利用料", "事業部")]
    (imported,) = rows(moneyforward.moneyforward(settings), entry(samples.ordinary()))
    assert cells([imported], "貸方勘定科目", "貸方補助科目", "貸方部門") == [
        ("SaaS 売上", "利用料", "事業部")
    ]


# Imports -----------------------------------------------------------------------------------------------------------------


def test_the_imports_have_the_vendors_header_encoding_and_line_ends() -> None:
    income = written(freee.freee(SETTINGS), entry(samples.ordinary()))
    assert income.startswith(b"\xef\xbb\xbf" + FREEE_HEADER.encode() + b"\r\n")
    assert FREEE_HEADER.count(",") == 20
    compound = written(moneyforward.moneyforward(SETTINGS), entry(samples.ordinary()))
    assert compound.startswith(MONEYFORWARD_HEADER.encode() + b"\n")
    assert MONEYFORWARD_HEADER.count(",") == 26
    assert b"\r" not in compound


def test_freee_gets_an_unsettled_income_with_a_row_per_rate() -> None:
    content = written(freee.freee(SETTINGS), entry(samples.mixed_rates()))
    assert content.decode("utf-8-sig").split("\r\n")[1:] == [
        "収入,INV-2026-10-001,2026/10/31,2026/11/30,0042,株式会社青葉商事,売上高,課税売上10%,55000,内税,5000,"
        "INV-2026-10-001 株式会社青葉商事 2026年10月分,,,,,,,,,",
        ",,,,,,売上高,課税売上8%（軽）,4665,内税,345,INV-2026-10-001 株式会社青葉商事 2026年10月分,,,,,,,,,",
        ",,,,,,売上高,非課売上,1300,,,INV-2026-10-001 株式会社青葉商事 2026年10月分,,,,,,,,,",
        "",
    ]


def test_freee_gets_a_credit_note_as_an_income_with_negative_amounts() -> None:
    found = rows(freee.freee(SETTINGS), entry(samples.credit()))
    assert cells(found, "収支区分", "管理番号", "税区分", "金額", "税額") == [
        ("収入", "CRN-2026-000007", "課税売返10%", "-55000", "-5000"),
        ("", "", "課税売返8%（軽）", "-4665", "-345"),
        ("", "", "非課売返", "-1300", ""),
    ]
    assert found[0]["備考"].endswith("（INV-2026-10-001 の返還）")


def test_moneyforward_gets_a_compound_entry_with_the_tax_inside() -> None:
    found = rows(moneyforward.moneyforward(SETTINGS), entry(samples.mixed_rates()), entry(samples.ordinary()))
    columns = ("取引No", "借方勘定科目", "借方税区分", "借方金額(円)", "借方税額")
    assert cells(found, *columns) == [
        ("1", "売掛金", "対象外", "55000", ""),
        ("1", "売掛金", "対象外", "4665", ""),
        ("1", "売掛金", "対象外", "1300", ""),
        ("2", "売掛金", "対象外", "145700", ""),
    ]
    assert cells(found[:3], "貸方勘定科目", "貸方税区分", "貸方金額(円)", "貸方税額") == [
        ("売上高", "課税売上 10%", "55000", "5000"),
        ("売上高", "課税売上 (軽)8%", "4665", "345"),
        ("売上高", "非課税売上", "1300", ""),
    ]
    assert set(cells(found[:3], "取引日", "借方取引先", "仕訳メモ")) == {
        ("2026/10/31", "株式会社青葉商事", "INV-2026-10-001")
    }


def test_moneyforward_gets_a_credit_note_with_the_sides_exchanged() -> None:
    found = rows(moneyforward.moneyforward(SETTINGS), entry(samples.credit()))
    assert cells(found, "借方勘定科目", "借方税区分", "借方金額(円)", "借方税額", "貸方勘定科目") == [
        ("売上高", "課税売上-返還等 10%", "55000", "5000", "売掛金"),
        ("売上高", "課税売上-返還等 (軽)8%", "4665", "345", "売掛金"),
        ("売上高", "非課税売上-返還等", "1300", "", "売掛金"),
    ]


def test_void_documents_and_totals_of_zero_are_not_in_the_imports() -> None:
    zero = samples.invoice(
        [samples.line(1, "利用料", "1000"), samples.line(2, "値引き", "-1000")], number="INV-2026-000124"
    )
    for form in forms_of(SETTINGS)[1:]:
        assert rows(form, entry(samples.ordinary(), Booking.VOID), entry(zero)) == [], form.name


def test_the_partner_is_named_as_the_settings_ask() -> None:
    (only_name,) = rows(freee.freee(_with("freee", partner="name")), entry(samples.ordinary()))
    assert cells([only_name], "取引先コード", "取引先") == [("", "株式会社青葉商事")]
    (code,) = rows(
        moneyforward.moneyforward(_with("moneyforward", partner="code")), entry(samples.ordinary())
    )
    assert code["借方取引先"] == "0042"
    (nobody,) = rows(
        moneyforward.moneyforward(_with("moneyforward", partner="none")), entry(samples.ordinary())
    )
    assert nobody["借方取引先"] == ""


# Receipts ----------------------------------------------------------------------------------------------------------------


def received(
    amount: str = "-145700",
    booking: Booking = Booking.PAYMENT,
    *,
    yen: str = "",
    method: str = "銀行振込",
    reference: str = "F-1",
    invoice: Invoice | None = None,
) -> BookEntry:
    """A payment, or with a positive amount a refund."""
    receipt = Receipt(Decimal(amount), Decimal(yen or amount), method, reference)
    return replace(entry(invoice or samples.ordinary()), booking=booking, receipt=receipt)


@pytest.mark.parametrize(
    ("booked", "label", "debit", "credit", "yen"),
    [
        (received(), "入金", "普通預金", "売掛金", -145_700),
        (received("700"), "返金", "売掛金", "普通預金", 700),
        (received(booking=Booking.REVERSAL), "入金の取り消し", "売掛金", "普通預金", 145_700),
        (received("700", Booking.REVERSAL), "返金の取り消し", "普通預金", "売掛金", -700),
    ],
)
def test_a_receipt_is_one_row_between_bank_and_receivable(
    booked: BookEntry, label: str, debit: str, credit: str, yen: int
) -> None:
    amount, text = str(abs(yen)), f"{label} INV-2026-10-001 株式会社青葉商事 銀行振込 F-1"
    (own,) = rows(journal.journal(SETTINGS), booked)
    assert cells([own], "借方勘定科目", "借方金額", "貸方勘定科目", "貸方金額", "摘要") == [
        (debit, amount, credit, amount, text)
    ]
    (imported,) = rows(moneyforward.moneyforward(SETTINGS), booked)
    assert cells([imported], "借方勘定科目", "借方税区分", "借方税額", "貸方勘定科目", "貸方税区分") == [
        (debit, "対象外", "", credit, "対象外")
    ]
    assert imported["摘要"] == text
    (row,) = listed(booked)
    assert cells([row], "種別", "税区分", "消費税額", "税込金額（円）", "支払期限", "備考") == [
        (label, "対象外", "0", str(yen), "", "銀行振込 F-1")
    ]
    tallies = write_forms([(form, BytesIO()) for form in forms_of(SETTINGS)], [booked])
    assert tallies == [FileTally(1, yen)] * 4


@pytest.mark.parametrize(
    ("booked", "kind"),
    [
        (received(), "収入"),
        (received("145700"), "支出"),
        (received(booking=Booking.REVERSAL), "支出"),
        (received("145700", Booking.REVERSAL), "収入"),
    ],
)
def test_freee_gets_a_settled_income_or_expense_on_the_receivable(booked: BookEntry, kind: str) -> None:
    settings = _with("freee", wallet="みずほ銀行（法人）")
    receivable = settings.receivable.model_copy(update={"sub_account": "SaaS", "department": "事業部"})
    content = written(freee.freee(settings.model_copy(update={"receivable": receivable})), booked)
    assert content.decode("utf-8-sig").split("\r\n")[1:] == [
        f"{kind},INV-2026-10-001,2026/10/31,,0042,株式会社青葉商事,売掛金,対象外,145700,,,"
        f"{booked.label} INV-2026-10-001 株式会社青葉商事 銀行振込 F-1,SaaS,事業部,,,,,2026/10/31,みずほ銀行（法人）,145700",
        "",
    ]


def test_a_payment_reversed_in_its_open_month_is_listed_only() -> None:
    reversed_payment = received(booking=Booking.VOID)
    (row,) = listed(reversed_payment)
    assert cells([row], "種別", "状態", "税込金額", "税込金額（円）") == [("入金", "取消", "0", "0")]
    for form in forms_of(SETTINGS)[1:]:
        assert rows(form, reversed_payment) == [], form.name


def test_a_foreign_payment_is_booked_with_its_own_yen() -> None:
    booked = received("-1700.24", yen="-257135", invoice=samples.us_dollars())
    (row,) = listed(booked)
    assert cells([row], "通貨", "税込金額", "換算レート", "税込金額（円）") == [
        ("USD", "-1700.24", "151.235", "-257135")
    ]
    (own,) = rows(journal.journal(SETTINGS), booked)
    assert own["貸方金額"] == "257135"
    assert own["摘要"].endswith("銀行振込 F-1 USD -1700.24 @151.235（2026-10-31）")


def test_a_receipt_without_yen_is_listed_only() -> None:
    tiny = received("-0.01", yen="0", invoice=samples.us_dollars())
    assert cells(listed(tiny), "税込金額", "税込金額（円）") == [("-0.01", "0")]
    for form in forms_of(SETTINGS)[1:]:
        assert rows(form, tiny) == [], form.name


def test_method_and_reference_break_no_row_and_start_no_formula() -> None:
    booked = replace(
        received(method="=振込\n", reference="F" * 300, invoice=samples.long_names()),
        accrued_on=date(2026, 9, 30),
    )
    (row,) = listed(booked)
    assert row["備考"] == f"'=振込 {'F' * 300} 2026-09 は確定済みのため"
    (imported,) = rows(moneyforward.moneyforward(SETTINGS), booked)
    assert imported["摘要"].startswith("入金 ")
    assert imported["摘要"].endswith("F （2026-09 は確定済みのため）")
    assert len(imported["摘要"]) <= 200


# Foreign currency --------------------------------------------------------------------------------------------------------


def test_a_foreign_document_is_booked_in_yen_at_its_own_rate() -> None:
    booked = entry(samples.us_dollars(), yen_per_unit="1")
    (posting,) = postings(booked)
    # 1,700.24 × 151.235 = 257,135.79; the tax in yen is that of the document.
    assert (posting.gross, posting.tax, posting.net) == (Decimal(257_136), Decimal(23_376), Decimal(233_760))
    (imported,) = rows(moneyforward.moneyforward(SETTINGS), booked)
    assert imported["貸方金額(円)"] == "257136"
    assert imported["摘要"].endswith("2026年10月分 USD 1700.24 @151.235（2026-10-31）")


def test_without_its_own_rate_a_document_takes_that_of_its_inputs() -> None:
    booked = entry(in_yen(samples.us_dollars()), yen_per_unit="150")
    (posting,) = postings(booked)
    assert (posting.gross, posting.tax) == (Decimal(255_036), Decimal(23_184))
    (row,) = listed(booked)
    assert cells([row], "換算レート", "換算日", "消費税額（円）", "税込金額（円）") == [
        ("150", "2026-10-30", "23184", "255036")
    ]
    (deal,) = rows(freee.freee(SETTINGS), booked)
    assert deal["備考"].endswith("USD 1700.24 @150（2026-10-30）")


def test_without_any_rate_the_currency_and_the_table_are_named() -> None:
    with pytest.raises(
        BillingError,
        match=r"INV-2026-10-001 の通貨 USD .*利用月（2026-10）のレートを DAG operate_contracts",
    ):
        rows(journal.journal(SETTINGS), entry(in_yen(samples.us_dollars())))


def test_the_sales_of_the_largest_rate_take_the_rounding_difference() -> None:
    booked = entry(samples.kuwaiti_dinars())
    large, small = postings(booked)
    # 1,358.023 × 489.1 = 664,209.05 and 9.855 × 489.1 = 4,820.08; together 1,367.878 × 489.1 = 669,029.13.
    assert (large.gross, small.gross) == (Decimal(664_209), Decimal(4_820))
    assert large.gross + small.gross == round(booked.invoice.total * booked.rate)


@given(
    amounts=st.lists(
        st.tuples(st.sampled_from(TaxCategory), st.decimals("-9999.99", "9999.99", places=2)),
        min_size=1,
        max_size=8,
    ),
    rate=st.decimals("0.5", "300", places=3),
    booking=st.sampled_from([Booking.DOCUMENT, Booking.REVERSAL]),
)
def test_every_document_balances_to_the_yen_in_journal_and_imports(
    amounts: Sequence[tuple[TaxCategory, Decimal]], rate: Decimal, booking: Booking
) -> None:
    lines = [
        samples.line(position, "利用料", f"{amount:f}", category=category)
        for position, (category, amount) in enumerate(amounts, 1)
    ]
    booked = entry(samples.invoice(lines, currency="USD", yen_per_unit=f"{rate:f}"), booking)
    if booked.invoice.total == 0:
        return
    receivable = sum((posting.gross for posting in postings(booked)), Decimal(0))
    sign = -1 if booking is Booking.REVERSAL else 1
    assert abs(receivable - sign * booked.invoice.total * Decimal(rate)) <= Decimal("0.5")
    own = rows(journal.journal(SETTINGS), booked)
    assert [row["借方金額"] for row in own] == [row["貸方金額"] for row in own]
    assert _booked(own, "金額") == receivable
    assert sum(int(row["金額"]) for row in rows(freee.freee(SETTINGS), booked)) == receivable
    assert _booked(rows(moneyforward.moneyforward(SETTINGS), booked), "金額(円)") == receivable
    assert sum(int(row["税込金額（円）"]) for row in listed(booked)) == receivable
    tallies = write_forms([(form, BytesIO()) for form in forms_of(SETTINGS)], [booked])
    assert [tally.yen for tally in tallies] == [receivable] * 4


@given(
    amounts=st.lists(
        st.tuples(st.sampled_from(TaxCategory), st.decimals("0.001", "999.999", places=3)),
        min_size=1,
        max_size=4,
    ),
    parts=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), max_size=4),
    rate=st.decimals("0.5", "500", places=3),
    states_yen=st.booleans(),
)
def test_full_credit_of_a_foreign_invoice_leaves_no_yen_in_accounts(
    amounts: Sequence[tuple[TaxCategory, Decimal]],
    parts: Sequence[tuple[int, int]],
    rate: Decimal,
    states_yen: bool,
) -> None:
    """Each part is a line and a percentage of it."""
    lines = [
        samples.line(position, "利用料", f"{amount:f}", category=category)
        for position, (category, amount) in enumerate(amounts, 1)
    ]
    original = samples.invoice(lines, currency="KWD", yen_per_unit=f"{rate:f}")
    original = original if states_yen else in_yen(original)
    booked, notes = [entry(original, yen_per_unit=f"{rate:f}")], list[Invoice]()
    for part in [*parts, None]:
        try:
            note = credit_note(
                original,
                notes,
                part and [_share(original, *part)],
                reason="訂正",
                rounding=RoundingMode.FLOOR,
            )
        except BillingError:
            continue
        numbered = note.finalized(f"CRN-2026-10-{len(notes) + 1:03}", date(2026, 11, 5), None)
        booked.append(
            replace(
                entry(numbered, yen_per_unit=f"{rate:f}"), credits=CreditedInvoice(original, tuple(notes))
            )
        )
        notes.append(numbered)
    assert notes[-1].remaining_total == 0
    left: Counter[tuple[str, str]] = Counter()
    for each in rows(journal.journal(SETTINGS), *booked):
        left[each["借方勘定科目"], _category(each)] += int(each["借方金額"])
        left[each["貸方勘定科目"], _category(each)] -= int(each["貸方金額"])
    assert set(left.values()) <= {0}
    assert sum(int(row["金額"]) for row in rows(freee.freee(SETTINGS), *booked)) == 0
    assert _booked(rows(moneyforward.moneyforward(SETTINGS), *booked), "金額(円)") == 0


def _share(original: Invoice, index: int, percent: int) -> CreditedPart:
    line = original.lines[index % len(original.lines)]
    return CreditedPart(line.position, (line.amount * percent / 100).quantize(Decimal("0.001")))


def _category(row: dict[str, str]) -> str:
    """The journal's code of the tax category, which is the same for sales and returns."""
    none = SETTINGS.journal.none
    return next((code for code in (row["借方税区分"], row["貸方税区分"]) if code != none), none)


def _booked(found: Iterable[dict[str, str]], amount: str) -> int:
    """The amount that the rows add to 売掛金."""
    return sum(int(row[f"借方{amount}"]) * (1 if row["借方勘定科目"] == "売掛金" else -1) for row in found)


# One pass ----------------------------------------------------------------------------------------------------------------


def test_all_files_are_written_in_one_pass_over_the_documents() -> None:
    forms = [(form, BytesIO()) for form in forms_of(SETTINGS)]
    positions: list[list[int]] = []

    def entries() -> Iterator[BookEntry]:
        for _ in range(1000):
            positions.append([stream.tell() for _, stream in forms])
            yield entry(samples.ordinary())

    assert write_forms(forms, entries()) == [
        FileTally(row_count, 145_700_000) for row_count in (1000, 2000, 1000, 1000)
    ]
    for first, middle, last, (_, stream) in zip(
        positions[0], positions[500], positions[-1], forms, strict=True
    ):
        assert first < middle < last < stream.tell()
