"""The six items without which an invoice is not finalised."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.qualified_invoice import require_qualified
from include.skillreport.billing.errors import BillingError
from tests.worlds import sample_invoices as samples

WHOLE = samples.mixed_rates()
VALID_NUMBER = "T7000012050002"


def problems(invoice: Invoice, *, corporate_issuer: bool = False) -> str:
    """The items that the error names; empty if there is no error."""
    try:
        require_qualified(invoice, corporate_issuer=corporate_issuer)
    except BillingError as error:
        refusal = error
    else:
        return ""
    assert refusal.code == "NOT_QUALIFIED"
    prefix, _, named = str(refusal).partition(": ")
    assert prefix == "適格請求書の記載事項が欠けているため確定できません"
    return named


def without_first_line(**changes: Any) -> Invoice:
    """The whole invoice with another first line."""
    first, *others = WHOLE.lines
    return WHOLE.model_copy(update={"lines": (first.model_copy(update=changes), *others)})


def issued_by(registration_number: str) -> Invoice:
    issuer = WHOLE.issuer.model_copy(update={"registration_number": registration_number})
    return WHOLE.model_copy(update={"issuer": issuer})


@pytest.mark.parametrize(
    "invoice",
    [
        samples.ordinary(),
        WHOLE,
        samples.mixed_rates(tax_included=True),
        samples.us_dollars(),
        samples.draft_credit(WHOLE),
    ],
)
def test_a_whole_invoice_passes(invoice: Invoice) -> None:
    assert problems(invoice) == ""


@pytest.mark.parametrize(
    ("invoice", "item"),
    [
        (
            WHOLE.model_copy(update={"issuer": WHOLE.issuer.model_copy(update={"name": " "})}),
            "発行事業者の名称（設定の billing.issuer.name）",
        ),
        (
            issued_by(""),
            "登録番号 ''（T と 13 桁の数字。設定の billing.issuer.registration_number）",
        ),
        (WHOLE.model_copy(update={"period_end": date(2026, 9, 30)}), "取引の期間"),
        (without_first_line(service_to=date(2026, 9, 30)), "取引の期間"),
        (without_first_line(description=" "), "取引の内容"),
        (without_first_line(amount=Decimal(49999)), "税率ごとの対価の額"),
        (WHOLE.model_copy(update={"tax_totals": WHOLE.tax_totals[:2]}), "税率ごとの対価の額"),
        (WHOLE.model_copy(update={"tax": WHOLE.tax + 1}), "税率ごとの消費税額"),
        (
            WHOLE.model_copy(update={"recipient": WHOLE.recipient.model_copy(update={"name": ""})}),
            "交付を受ける者の名称（請求先の登録かアプリのテナント名）",
        ),
    ],
)
def test_an_item_that_is_missing_is_named(invoice: Invoice, item: str) -> None:
    assert problems(invoice) == f"{item}。"


def test_an_invoice_without_lines_has_no_content() -> None:
    empty = WHOLE.model_copy(update={"lines": (), "tax_totals": (), "tax": Decimal(0)})
    assert problems(empty) == "取引の内容。"


def test_all_missing_items_are_named_at_once() -> None:
    invoice = WHOLE.model_copy(
        update={
            "issuer": WHOLE.issuer.model_copy(update={"name": "", "registration_number": "T1"}),
            "recipient": WHOLE.recipient.model_copy(update={"name": ""}),
            "period_end": date(2026, 9, 30),
            "lines": (),
            "tax": Decimal(1),
        }
    )
    named = [item.partition("（")[0] for item in problems(invoice).split("、")]
    assert named == [
        "発行事業者の名称",
        "取引の期間",
        "取引の内容",
        "税率ごとの対価の額",
        "税率ごとの消費税額",
        "交付を受ける者の名称",
        "登録番号 'T1'",
    ]


@pytest.mark.parametrize("number", [VALID_NUMBER, "T4011001098993"])
@pytest.mark.parametrize("corporate_issuer", [True, False])
def test_a_corporate_number_with_its_check_digit_passes(number: str, corporate_issuer: bool) -> None:
    assert problems(issued_by(number), corporate_issuer=corporate_issuer) == ""


def test_a_wrong_check_digit_is_wrong_for_a_corporate_issuer_only() -> None:
    invoice = issued_by("T1234567890123")
    assert problems(invoice) == ""
    assert problems(invoice, corporate_issuer=True) == (
        "登録番号 'T1234567890123'（法人番号の検査数字が合いません。設定の billing.issuer.registration_number）。"
    )


@pytest.mark.parametrize(
    "number",
    [
        "7000012050002",
        "t7000012050002",
        "T700001205000",
        "T70000120500022",
        "T７０００0１２０５０００２",
        "T7000012050002 ",
    ],
)
@pytest.mark.parametrize("corporate_issuer", [True, False])
def test_a_registration_number_is_t_and_13_digits(number: str, corporate_issuer: bool) -> None:
    assert f"登録番号 '{number}'（T と 13 桁の数字" in problems(
        issued_by(number), corporate_issuer=corporate_issuer
    )
