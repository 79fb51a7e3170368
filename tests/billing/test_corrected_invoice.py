"""The corrected document of an invoice: its texts, its revision, and its letter, in both languages."""

from __future__ import annotations

from datetime import date

import pytest

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts, corrected_invoice
from include.skillreport.billing.documents.credit_note import credit_note
from include.skillreport.billing.documents.invoice import Invoice, document_key
from include.skillreport.billing.documents.rendering import render_json, render_pdf
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.letter_texts import document_letter
from include.skillreport.billing.money import RoundingMode
from tests.worlds import sample_invoices as samples
from tests.worlds.documents import pages_of

DAY = date(2026, 11, 10)


def corrected(original: Invoice, what: str = "宛名を訂正", **texts: str) -> Invoice:
    return corrected_invoice(original, CorrectedTexts(**(texts or {"name": "青葉商事"})), what, DAY)  # type: ignore[arg-type]


def test_a_document_says_in_its_language_what_was_corrected() -> None:
    for original, what, marks in (
        (samples.ordinary(), "宛名を訂正", ("訂正（第 2 版、2026年11月10日）", "金額は変わりません")),
        (
            samples.english(),
            "Name corrected",
            ("Corrected (revision 2, 10 November 2026)", "have not changed"),
        ),
    ):
        (page,) = pages_of(render_pdf(corrected(original, what)))
        text = page.replace("\n", "")
        for mark in (*marks, what):
            assert mark in text


def test_each_correction_is_the_next_revision_with_its_own_files() -> None:
    second = corrected(samples.ordinary())
    third = corrected(second, "備考を追加", note="PO-1")

    assert (second.revision, third.revision) == (2, 3)
    assert third.recipient.name == "青葉商事"
    assert document_key(third, "pdf") == f"invoices/2026-10/{third.number}-r3.pdf"
    assert Invoice.model_validate_json(render_json(third)) == third


def test_a_document_without_a_correction_keeps_its_json() -> None:
    content = render_json(samples.ordinary()).decode()
    assert "correction" not in content
    assert '"note"' not in content


def test_a_correction_to_the_same_texts_is_refused() -> None:
    original = samples.ordinary()
    with pytest.raises(BillingError, match="指定した内容のとおりです"):
        corrected(original, name=original.recipient.name, note="-")


def test_a_credit_note_after_a_correction_has_the_new_name() -> None:
    credit = credit_note(corrected(samples.ordinary()), [], None, reason="解約", rounding=RoundingMode.FLOOR)
    assert (credit.recipient.name, credit.correction) == ("青葉商事", None)


def test_a_letter_in_english_says_what_was_corrected() -> None:
    letter = document_letter(corrected(samples.english(), "Name corrected"), "attachment", "")
    assert "Corrected invoice" in letter.subject
    assert "Correction: Name corrected" in letter.body
