"""The documents: the PDF (read back as text) and the JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from include.skillreport.billing.documents import rendering as documents
from include.skillreport.billing.documents.invoice import Invoice, Language
from include.skillreport.billing.documents.rendering import render_json, render_pdf, require_printable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from tests.worlds import sample_invoices as samples
from tests.worlds.documents import pages_of

ROOT = Path(__file__).parents[2]

EVERY_SORT = [
    samples.ordinary(),
    samples.many_lines(),
    samples.mixed_rates(),
    samples.mixed_rates(tax_included=True),
    samples.us_dollars(),
    samples.kuwaiti_dinars(),
    samples.credit(),
    samples.part_credit(samples.ordinary(), "12345"),
    samples.replacement(samples.ordinary()),
    samples.draft(),
    samples.rare_characters(),
    samples.long_names(),
    samples.markup_like(),
]


def pages(invoice: Invoice) -> list[str]:
    """Each page's text, one line of it per line on the paper."""
    return pages_of(render_pdf(invoice))


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
    assert "非課税1,300円0円" in text
    assert "株式会社青葉商事御中" in text


@pytest.mark.parametrize(("honorific", "department"), [("様", None), ("様", "山田太郎"), ("", None)])
def test_the_pdf_shows_the_customers_honorific(honorific: str, department: str | None) -> None:
    recipient = samples.ordinary().recipient.model_copy(
        update={"honorific": honorific, "department": department}
    )
    text = shown(samples.ordinary().model_copy(update={"recipient": recipient}))
    assert squeezed(f"{department or recipient.name}{honorific}") in text
    assert "御中" not in text


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
def test_a_sample_is_marked_on_each_page_and_is_no_invoice(invoice: Invoice) -> None:
    texts = pages_of(render_pdf(invoice, sample=True))
    assert len(texts) == len(pages(invoice))
    for text in map(squeezed, texts):
        assert re.search(r"見本(?!（)", text)  # across the page
        assert "見本（請求書ではありません）" in text  # at its foot
    assert squeezed(texts[0]).startswith("見本（請求書ではありません）")
    assert not any("見本" in text for text in pages(invoice))


def test_a_sample_json_is_marked_and_refused_as_an_invoice() -> None:
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


def test_a_line_shows_its_arithmetic_and_all_digits_of_its_price() -> None:
    text = shown(samples.ordinary())
    assert "利用150名、無料枠30名を除き120名、120名×800円=96,000円" in text
    assert "2,345回0.51,172" in text


def test_a_credit_refers_to_its_original_and_asks_for_no_payment() -> None:
    text = shown(samples.credit())
    assert text.startswith("適格返還請求書")
    assert "返還番号CRN-2026-000007" in text
    assert "対象の請求書番号INV-2026-10-001" in text
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


def test_seventy_lines_run_over_pages_with_heads_and_page_numbers() -> None:
    found = pages(samples.many_lines(70))
    assert len(found) > 1
    positions = []
    for number, page in enumerate(found, 1):
        text = squeezed(page)
        assert text.count("No.内容利用期間数量単位単価（円）金額（円）") == 1
        assert text.endswith(f"請求書番号INV-2026-10-001{number}/{len(found)}")
        whole = re.findall(
            r"部門別レポート作成第(\d{3})部門(?:第1段階は[^〜]*別表の単価による)?2026/10/01〜10/31", text
        )
        positions += [int(position) for position in whole]
    assert positions == list(range(1, 71))


def test_long_names_and_words_are_broken_and_never_cut() -> None:
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
def test_a_character_without_a_glyph_is_named_as_an_error(character: str, named: str) -> None:
    recipient = samples.RECIPIENT.model_copy(update={"name": f"青葉{character}商事"})
    with pytest.raises(BillingError, match=f"「{named}」") as caught:
        render_pdf(samples.invoice(samples.ordinary().lines, recipient=recipient))
    assert caught.value.code == "UNPRINTABLE_CHARACTER"
    assert "青葉商事御中" in shown(samples.ordinary()), "the next invoice is not affected"


@pytest.mark.parametrize(
    "text",
    ["≒", "⦅", "\a", "\0", "\x1b", "\x7f", "\n", "\t", "か\u3099", "か\u309a", "e\u0301", "葛\U000e0100",
     "\u200b", "\ufeff", "\ue000", "①"],
)  # fmt: skip
def test_the_check_finds_exactly_the_text_that_cannot_be_printed(text: str) -> None:
    recipient = samples.RECIPIENT.model_copy(update={"name": f"青葉{text}商事"})
    invoice = samples.invoice(samples.ordinary().lines, recipient=recipient)

    def is_refused(check: Callable[[Invoice], object]) -> bool:
        try:
            check(invoice)
        except BillingError:
            return True
        return False

    assert is_refused(require_printable) == is_refused(render_pdf)
    assert is_refused(require_printable) == (text in "≒⦅\a\0\x1b\x7f\ufeff\ue000")


# Other languages and scripts ---------------------------------------------------------------------------------------------


def test_an_english_invoice_has_all_six_items_and_no_japanese() -> None:
    (page,) = pages(samples.english())
    text = squeezed(page)
    assert page.startswith(
        "Invoice\nGrünwald & Söhne GmbH\nAccounts Payable\nKönigstraße 12\n70173 Stuttgart\nGermany\n"
    )
    assert "SkillReportInc.QualifiedInvoiceIssuerNo.T1234567890123MarunouchiTower12F" in text
    assert "Serviceperiod1–31October2026" in text
    assert "Standardplan:basefee1–31Oct20261month1,234.501,234.50" in text
    assert "OutsidethescopeofJapaneseconsumptiontax1,197.45EUR0.00EUR" in text
    assert "Duedate30November2026" in text
    assert "MizuhoBank,Tokyo(SWIFT/BIC:MHCBJPJT)" in text
    assert "Volumediscount(10%)1–31Oct2026−133.05" in text
    assert "Exchangerate1EUR=162.5JPY(31October2026)" in text
    assert not re.search("[\u3000-\u30ff\u4e00-\u9fff▲〒]", page)
    assert str(PdfReader(BytesIO(render_pdf(samples.english()))).root_object["/Lang"]) == "en"


@pytest.mark.parametrize("country", [None, "JP"])
def test_an_english_invoice_in_japan_names_the_country(country: str | None) -> None:
    assert "70173StuttgartJapan" in shown(samples.english(country=country))


@pytest.mark.parametrize(
    ("category", "japanese", "english"),
    [
        (TaxCategory.STANDARD, "10%対象", "Standardrate10%"),
        (TaxCategory.REDUCED, "8%対象（※軽減税率）", "Reducedrate8%(※)"),
        (TaxCategory.EXEMPT, "非課税", "Non-taxable(exemptbylaw)"),
        (TaxCategory.NOT_TAXABLE, "不課税", "OutsidethescopeofJapaneseconsumptiontax"),
        (TaxCategory.EXPORT, "免税（輸出）", "Export,tax-exempt(zero-rated)"),
        (TaxCategory.OUT_OF_SCOPE, "対象外", "Notsubjecttotax"),
    ],
)
def test_each_tax_category_has_its_own_name(category: TaxCategory, japanese: str, english: str) -> None:
    invoice = samples.english(category=category)
    texts = [shown(invoice), shown(invoice.model_copy(update={"language": "ja"}))]
    assert english in texts[0]
    assert japanese in texts[1]
    # A category without a tax is not one with a rate of 0.
    assert not any(re.search(r"(?<!\d)0%", text) for text in texts)


def test_a_replacement_names_what_it_replaces() -> None:
    text = shown(samples.replacement(samples.ordinary()))
    assert "この請求書はINV-2026-000100（2026年10月28日発行）の差し替えです。" in text
    text = shown(samples.replacement(samples.english()))
    assert "ThisinvoicereplacesinvoiceINV-2026-000100of28October2026." in text


def test_a_partial_credit_note_states_its_reason_and_the_remaining_debt() -> None:
    text = shown(samples.part_credit(samples.ordinary(), "12345"))
    assert "対象の請求書番号INV-2026-10-001（2026年11月1日発行）" in text
    assert "返還の理由10月12日の障害のため" in text
    assert "請求書INV-2026-10-001は引き続き有効です" in text
    assert "返還後の残額132,121円（税込）をお支払いください" in text
    text = shown(samples.part_credit(samples.english(), "100.00", "Outage on 12 October"))
    assert text.startswith("CreditNote")
    assert "OriginalinvoiceINV-2026-10-001of1November2026" in text
    assert "ReasonOutageon12October" in text
    assert "InvoiceINV-2026-10-001remainsvalid" in text
    assert "paytheremaining1,097.45EUR" in text


def test_a_credit_note_for_the_whole_leaves_nothing_to_pay() -> None:
    text = shown(samples.full_credit(samples.mixed_rates()))
    assert "売上げに係る対価を返還いたします" in text
    assert "引き続き有効" not in text


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("script", samples.NAMES)
def test_legal_names_of_the_world_are_printed_and_checked_without_rendering(
    script: str, language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = samples.named(samples.NAMES[script], language=language, country="TW")

    # PDF/A: a missing glyph is an error.
    pdf = render_pdf(invoice)

    text = squeezed(pages_of(pdf)[0])
    for word in re.findall(r"\w+", samples.NAMES[script]):
        # pypdf reads the glyphs of Thai vowels as several characters.
        assert script == "Thai" or word in text
    assert _fonts_of(pdf) >= {"Thai": {"NotoSansThai-Bold"}, "Arabic": {"NotoSansArabic-Bold"}}.get(
        script, set()
    )
    monkeypatch.setattr(documents, "render_pdf", lambda _: pytest.fail("rendered for the check"))
    require_printable(invoice)


def test_every_character_that_counts_as_printable_is_printed() -> None:
    characters = [chr(code) for code in range(0xA0, 0x10000) if not 0xD800 <= code < 0xE000]
    plain = [each for each in characters if not documents._has_doubtful(each)]
    marked = [
        letter + mark
        for letter, marks in (("ก", range(0xE31, 0xE4F)), ("ب", range(0x64B, 0x671)))
        for mark in map(chr, marks)
        if not documents._has_doubtful(letter + mark)
    ]
    assert len(plain) > 40_000
    assert len(marked) > 30
    texts = [
        " ".join(each)
        for each in (marked, *(plain[start : start + 1_000] for start in range(0, len(plain), 1_000)))
    ]
    lines = [samples.line(position, text, "1") for position, text in enumerate(texts, 1)]
    render_pdf(samples.invoice(lines))


@pytest.mark.parametrize("text", ["会\u0e48", "a\u064b", "\u0e48", "\u064b"])
def test_a_combining_mark_without_its_letter_is_found(text: str) -> None:
    assert documents._has_doubtful(text)


def _fonts_of(pdf: bytes) -> set[str]:
    """The names of the fonts in the file, without the prefix of a subset."""
    return {name.decode() for name in re.findall(rb"/FontName/\w+\+([\w-]+)", pdf)}


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


def test_the_pdf_states_number_issuer_and_date_as_an_archive_file() -> None:
    pdf = render_pdf(samples.ordinary())
    metadata = PdfReader(BytesIO(pdf)).metadata
    assert metadata is not None
    assert metadata.title == "請求書 INV-2026-10-001"
    assert metadata.author == "株式会社スキルレポート"
    assert metadata.creation_date_raw == "D:20261101000000Z"
    assert b"<pdfaid:part>2</pdfaid:part>" in pdf


def test_the_same_invoice_gives_the_same_bytes_again_and_in_another_process() -> None:
    program = (
        "import hashlib\n"
        "from include.skillreport.billing.documents.rendering import render_pdf\n"
        "from tests.worlds.sample_invoices import mixed_rates\n"
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
