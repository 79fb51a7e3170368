"""What people get: the PDF (read back as text), the JSON, and the accountant's CSV."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from include.billing.documents import (
    ACCOUNTING_COLUMNS,
    render_json,
    render_pdf,
    require_printable,
    write_accounting_csv,
)
from include.billing.errors import BillingError
from include.billing.invoice import Invoice
from tests.billing import sample_invoices as samples

ROOT = Path(__file__).parents[2]

EVERY_SORT = [
    samples.ordinary(),
    samples.many_lines(),
    samples.mixed_rates(),
    samples.mixed_rates(tax_included=True),
    samples.us_dollars(),
    samples.kuwaiti_dinars(),
    samples.credit(),
    samples.draft(),
    samples.rare_characters(),
    samples.long_names(),
    samples.markup_like(),
]


def pages(invoice: Invoice) -> list[str]:
    """Each page's text, one line of it per line on the paper."""
    return [page.extract_text() for page in PdfReader(BytesIO(render_pdf(invoice))).pages]


def squeezed(text: str) -> str:
    """The text without blanks and line breaks: where a line is broken is not what these tests are about."""
    return re.sub(r"\s", "", text)


def shown(invoice: Invoice) -> str:
    return squeezed("".join(pages(invoice)))


def amount(text: str) -> Decimal:
    return Decimal(text.replace(",", "").replace("▲", "-"))


def test_the_pdf_shows_all_six_items_of_a_qualified_invoice() -> None:
    text = shown(samples.mixed_rates())
    assert "株式会社スキルレポート登録番号T1234567890123" in text
    assert "対象期間（取引年月日）2026年10月1日〜10月31日" in text
    assert "定期購読の新聞※" in text
    assert "対価の額（税抜）消費税額10%対象50,000円5,000円8%対象（※軽減税率）4,320円345円" in text
    assert "対象外（0%）1,300円0円" in text
    assert "株式会社青葉商事御中" in text


def test_the_pdf_and_the_json_show_the_remarks_below_the_lines() -> None:
    remark = "API 呼び出しの記録がないため、「API 呼び出し」は請求していません"
    invoice = samples.ordinary().model_copy(update={"remarks": (remark,)})
    assert f"注記{squeezed(remark)}税率" in shown(invoice)
    assert json.loads(render_json(invoice))["remarks"] == [remark]
    assert "注記" not in shown(samples.ordinary())


def test_the_pdf_says_how_much_until_when_and_to_which_account() -> None:
    text = shown(samples.mixed_rates())
    assert text.startswith("請求書")
    assert "ご請求金額（税込）60,965円" in text
    assert "お支払期限2026年11月30日" in text
    assert "お振込先みずほ銀行東京営業部（001）普通1234567カ）スキルレポート" in text
    assert "小計（税抜）55,620円消費税額5,345円合計（税込）60,965円" in text


@pytest.mark.parametrize("invoice", EVERY_SORT)
def test_the_lines_amounts_as_shown_add_up_to_the_subtotal_as_shown(invoice: Invoice) -> None:
    text = "\n".join(pages(invoice))
    amounts = [
        amount(row) for row in re.findall(r"2026/10/01〜10/31[^〜]*? (▲?[\d,.]+)$", text, re.MULTILINE)
    ]
    (subtotal,) = re.findall(r"小計（税.） (▲?[\d,.]+)", text)
    assert len(amounts) == len(invoice.lines)
    assert sum(amounts) == amount(subtotal) == invoice.subtotal


@pytest.mark.parametrize("invoice", EVERY_SORT)
def test_the_total_is_shown_the_same_above_and_below(invoice: Invoice) -> None:
    totals = re.findall(r"(?:金額|合計)（税込）\s(▲?[\d,.]+)", "\n".join(pages(invoice)))
    assert [amount(total) for total in totals] == [invoice.total, invoice.total]


@pytest.mark.parametrize("invoice", [samples.draft(), samples.many_lines(), samples.credit()])
def test_a_sample_has_its_mark_across_each_page_and_does_not_call_itself_an_invoice(invoice: Invoice) -> None:
    texts = [page.extract_text() for page in PdfReader(BytesIO(render_pdf(invoice, sample=True))).pages]
    assert len(texts) == len(pages(invoice))
    for text in map(squeezed, texts):
        assert re.search(r"見本(?!（)", text)  # across the page
        assert "見本（請求書ではありません）" in text  # at its foot
    assert squeezed(texts[0]).startswith("見本（請求書ではありません）")
    assert not any("見本" in text for text in pages(invoice))


def test_a_sample_as_json_begins_with_its_mark_and_is_not_read_back_as_an_invoice() -> None:
    content = render_json(samples.draft(), sample=True)
    document = json.loads(content)
    assert next(iter(document.items())) == ("sample", "見本（請求書ではありません）")
    with pytest.raises(ValueError, match="sample"):
        Invoice.model_validate_json(content)
    del document["sample"]
    assert document == json.loads(render_json(samples.draft()))


def test_only_reduced_lines_are_marked_and_the_mark_is_explained() -> None:
    text = shown(samples.mixed_rates())
    assert re.findall(r"\d([^\d※]+)※2026", text) == ["定期購読の新聞"]
    assert "※は軽減税率対象" in text
    assert "※" not in shown(samples.ordinary())


def test_prices_that_include_tax_say_so() -> None:
    text = shown(samples.mixed_rates(tax_included=True))
    assert "対価の額（税込）うち消費税額10%対象50,000円4,545円" in text
    assert "小計（税込）55,620円うち消費税額4,865円合計（税込）55,620円" in text
    assert "税抜" not in text


def test_a_line_shows_its_arithmetic_and_no_digit_of_its_price_is_dropped() -> None:
    text = shown(samples.ordinary())
    assert "利用150名、無料枠30名を除き120名、120名×800円=96,000円" in text
    assert "2,345回0.51,172" in text


def test_a_credit_refers_to_its_original_and_asks_for_no_payment() -> None:
    text = shown(samples.credit())
    assert text.startswith("適格返還請求書")
    assert "返還請求書番号CRN-2026-000007" in text
    assert "対象の請求書番号INV-2026-000123" in text
    assert "返還日（発行日）2026年11月12日" in text
    assert "返還金額（税込）▲60,965円" in text
    assert "お支払期限" not in text
    assert "お振込先" not in text


def test_a_foreign_currency_has_its_decimals_and_its_tax_in_yen() -> None:
    dollars = shown(samples.us_dollars())
    assert "ご請求金額（税込）1,700.24USD" in dollars
    assert "換算レート1USD=151.235円（2026年10月31日）" in dollars
    assert "10%対象233,760円23,376円" in dollars
    dinars = shown(samples.kuwaiti_dinars())
    assert "ご請求金額（税込）1,367.878KWD" in dinars
    assert "8%対象（※軽減税率）9.125KWD0.730KWD" in dinars
    assert "円換算" not in shown(samples.ordinary())


def test_seventy_lines_go_over_the_pages_whole_under_a_repeated_head_with_page_numbers() -> None:
    found = pages(samples.many_lines(70))
    assert len(found) > 1
    positions = []
    for number, page in enumerate(found, 1):
        text = squeezed(page)
        assert text.count("No.内容利用期間数量単位単価（円）金額（円）") == 1
        assert text.endswith(f"請求書番号INV-2026-000123{number}/{len(found)}")
        whole = re.findall(
            r"部門別レポート作成第(\d{3})部門(?:第1段階は[^〜]*別表の単価による)?2026/10/01〜10/31", text
        )
        positions += [int(position) for position in whole]
    assert positions == list(range(1, 71))


def test_long_names_and_long_words_are_broken_and_nothing_of_them_is_cut() -> None:
    invoice = samples.long_names()
    (page,) = pages(invoice)
    text = squeezed(page)
    for long in (
        invoice.issuer.name,
        invoice.issuer.email,
        invoice.recipient.name,
        invoice.recipient.department,
        invoice.recipient.address,
        *(line.description for line in invoice.lines),
    ):
        assert long is not None
        assert long not in page
        assert long in text


def test_rare_characters_survive() -> None:
    text = shown(samples.rare_characters())
    assert "髙橋﨑商店㈱𠮷田支店御中" in text
    assert "㈱𠮷田様向け①Ⅲ㎡ﾊﾝｶｸ" in text
    assert "辻󠄀・葛󠄀・神" in text


@pytest.mark.parametrize(("character", "named"), [("😀", "😀"), ("\ue000", "U\\+E000"), ("\a", "U\\+0007")])
def test_a_character_without_a_glyph_is_named_instead_of_printed_as_a_box(character: str, named: str) -> None:
    recipient = samples.RECIPIENT.model_copy(update={"name": f"青葉{character}商事"})
    with pytest.raises(BillingError, match=f"「{named}」") as caught:
        render_pdf(samples.invoice(samples.ordinary().lines, recipient=recipient))
    assert caught.value.code == "UNPRINTABLE_CHARACTER"
    assert "青葉商事御中" in shown(samples.ordinary()), "the next invoice is not affected"


@pytest.mark.parametrize(
    "text",
    ["\a", "\0", "\x1b", "\x7f", "\n", "\t", "か\u3099", "か\u309a", "e\u0301", "葛\U000e0100", "\u200b", "\ufeff", "\ue000", "①"],
)  # fmt: skip
def test_what_is_found_printable_is_what_can_be_printed(text: str) -> None:
    recipient = samples.RECIPIENT.model_copy(update={"name": f"青葉{text}商事"})
    invoice = samples.invoice(samples.ordinary().lines, recipient=recipient)

    def is_refused(check: Callable[[Invoice], object]) -> bool:
        try:
            check(invoice)
        except BillingError:
            return True
        return False

    assert is_refused(require_printable) == is_refused(render_pdf)
    assert is_refused(require_printable) == (text in "\a\0\x1b\x7f\ufeff\ue000")


def test_text_that_looks_like_markup_is_shown_as_it_is() -> None:
    text = shown(samples.markup_like())
    for markup in samples.MARKUP_LIKE:
        assert text.count(squeezed(markup)) >= 2, "as description and as arithmetic"
    assert '=HYPERLINK("x")御中' in text


def test_a_draft_says_that_it_is_one() -> None:
    text = shown(samples.draft())
    assert text.startswith("請求書（下書き）")
    assert "請求書番号未採番発行日—" in text
    assert "お支払期限—" in text


def test_the_pdf_carries_its_number_issuer_and_date_and_is_made_for_the_archive() -> None:
    pdf = render_pdf(samples.ordinary())
    metadata = PdfReader(BytesIO(pdf)).metadata
    assert metadata is not None
    assert metadata.title == "請求書 INV-2026-000123"
    assert metadata.author == "株式会社スキルレポート"
    assert metadata.creation_date_raw == "D:20261101000000Z"
    assert b"<pdfaid:part>2</pdfaid:part>" in pdf


def test_the_same_invoice_gives_the_same_bytes_again_and_in_another_process() -> None:
    program = (
        "import hashlib\n"
        "from include.billing.documents import render_pdf\n"
        "from tests.billing.sample_invoices import mixed_rates\n"
        "print(hashlib.sha256(render_pdf(mixed_rates())).hexdigest())"
    )
    first = render_pdf(samples.mixed_rates())
    render_pdf(samples.us_dollars())
    assert render_pdf(samples.mixed_rates()) == first
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"TZ": "America/New_York", "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(first).hexdigest()


@pytest.mark.parametrize("invoice", EVERY_SORT)
def test_the_json_is_read_back_as_the_same_invoice(invoice: Invoice) -> None:
    document = render_json(invoice)
    assert Invoice.model_validate_json(document) == invoice
    assert render_json(Invoice.model_validate_json(document)) == document


def test_the_json_has_amounts_as_strings_and_japanese_as_it_is() -> None:
    document = render_json(samples.kuwaiti_dinars())
    assert document.endswith(b"}\n")
    assert "株式会社青葉商事".encode() in document
    assert json.loads(document)["total"] == "1367.878"


def accounting(*entries: tuple[str, Invoice]) -> list[dict[str, str]]:
    stream = BytesIO()
    count = write_accounting_csv(stream, entries)
    rows = list(csv.DictReader(stream.getvalue().decode("utf-8-sig").splitlines()))
    assert len(rows) == count
    return rows


def test_the_csv_opens_in_japanese_excel() -> None:
    stream = BytesIO()
    write_accounting_csv(stream, [("sent", samples.ordinary())])
    assert stream.getvalue().startswith(b"\xef\xbb\xbf")
    heads, row, rest = stream.getvalue().decode("utf-8-sig").split("\r\n")
    assert heads == ",".join(ACCOUNTING_COLUMNS)
    assert row == (
        "INV-2026-000123,請求,送付済,2026-11-01,2026-11-30,2026-10-01,2026-10-31,aoba,株式会社青葉商事,JPY,"
        "課税10%,10,132455,13245,145700,,,13245,,T1234567890123"
    )
    assert rest == ""


@pytest.mark.parametrize("invoice", EVERY_SORT)
def test_the_csvs_sums_over_the_rates_are_the_invoices_totals(invoice: Invoice) -> None:
    rows = accounting(("finalized", invoice))
    net, tax, gross = (
        sum(Decimal(row[column]) for row in rows) for column in ("税抜金額", "消費税額", "税込金額")
    )
    assert (tax, gross) == (invoice.tax, invoice.total)
    assert net == invoice.total - invoice.tax
    assert [row["税区分"] for row in rows] == list(dict.fromkeys(row["税区分"] for row in rows))


def test_the_csv_has_a_row_per_rate_and_takes_the_tax_out_of_prices_that_include_it() -> None:
    rows = accounting(("sent", samples.mixed_rates(tax_included=True)))
    assert [
        (row["税区分"], row["税率"], row["税抜金額"], row["消費税額"], row["税込金額"]) for row in rows
    ] == [
        ("課税10%", "10", "45455", "4545", "50000"),
        ("軽減8%", "8", "4000", "320", "4320"),
        ("対象外", "0", "1300", "0", "1300"),
    ]


def test_the_csv_has_a_foreign_currencys_tax_in_yen_too() -> None:
    (row,) = accounting(("paid", samples.us_dollars()))
    assert (row["通貨"], row["税込金額"]) == ("USD", "1700.24")
    assert (row["換算レート"], row["換算日"], row["消費税額（円）"]) == ("151.235", "2026-10-31", "23376")


def test_a_credit_is_a_return_with_negative_amounts_that_cancel_the_original() -> None:
    original = accounting(("paid", samples.mixed_rates()))
    credit = accounting(("finalized", samples.credit()))
    assert {(row["種別"], row["元請求書番号"]) for row in credit} == {("返還", "INV-2026-000123")}
    for column in ("税抜金額", "消費税額", "税込金額", "消費税額（円）"):
        assert [-Decimal(row[column]) for row in credit] == [Decimal(row[column]) for row in original]


def test_a_void_invoice_is_listed_with_amounts_of_zero() -> None:
    rows = accounting(("void", samples.mixed_rates()), ("void", samples.us_dollars()))
    assert {row["状態"] for row in rows} == {"取消"}
    assert [row["税込金額"] for row in rows] == ["0", "0", "0", "0.00"]
    assert {
        Decimal(row[column]) for row in rows for column in ("税抜金額", "消費税額", "消費税額（円）")
    } == {Decimal(0)}


def test_an_invoice_without_lines_is_listed_for_its_number() -> None:
    (row,) = accounting(("finalized", samples.invoice([])))
    assert (row["請求書番号"], row["税込金額"]) == ("INV-2026-000123", "0")


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+81", "-1", "@x", "\t=1", "\r=1", " =1", "＝1", "＋1", "－1", "＠x"]
)
def test_no_text_of_the_csv_starts_a_formula(name: str) -> None:
    recipient = samples.RECIPIENT.model_copy(update={"name": name})
    stream = BytesIO()
    write_accounting_csv(stream, [("sent", samples.invoice(samples.ordinary().lines, recipient=recipient))])
    _, row = csv.reader(stream.getvalue().decode("utf-8-sig").split("\r\n")[:-1])
    assert row[ACCOUNTING_COLUMNS.index("請求先")] == f"'{name}"


def test_negative_numbers_of_the_csv_stay_numbers() -> None:
    assert [row["税込金額"] for row in accounting(("sent", samples.credit()))] == ["-55000", "-4665", "-1300"]


def test_the_csv_is_written_while_the_invoices_are_read_and_the_stream_stays_open() -> None:
    stream = BytesIO()
    written: list[int] = []

    def entries() -> Iterator[tuple[str, Invoice]]:
        for _ in range(1000):
            written.append(stream.tell())
            yield "sent", samples.ordinary()

    assert write_accounting_csv(stream, entries()) == 1000
    assert 0 < written[500] < written[-1] < stream.tell()


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(KeyError, match="lost"):
        accounting(("lost", samples.ordinary()))
