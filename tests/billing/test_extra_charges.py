"""One-off lines, and the tenant's tax category in place of the price list's."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from include.skillreport.billing.documents.invoice import DocumentReference, Invoice, LineKind
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.pricing.calculation import price
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from tests.billing.billing_inputs import (
    amount_off,
    charge,
    inputs,
    one_off,
    own_minimum,
    part,
    percent_off,
    plan,
    usage_days,
)


def totals_by_category(invoice: Invoice) -> dict[str, tuple[str, str]]:
    """Taxable amount and tax."""
    return {
        total.category.value: (str(total.taxable_amount), str(total.tax_amount))
        for total in invoice.tax_totals
    }


def only_one_off(*extra_charges: ExtraCharge, **changes: object) -> Invoice:
    """A month without a plan."""
    return price(inputs(parts=(), usage_days=(), extra_charges=extra_charges, **changes))


# One-off lines -----------------------------------------------------------------------------------------------------------


def test_one_off_lines_follow_the_minimum_and_no_discount_applies_to_them() -> None:
    invoice = price(
        inputs(
            discounts=(percent_off("50"), amount_off("1000")),
            commitments=(own_minimum("8000"),),
            extra_charges=(one_off("3000"), one_off("-500", description="お詫び")),
        )
    )
    assert [(line.kind, str(line.amount)) for line in invoice.lines] == [
        (LineKind.BASE_FEE, "10000"),
        (LineKind.PERCENTAGE_DISCOUNT, "-5000"),
        (LineKind.FIXED_DISCOUNT, "-1000"),
        (LineKind.COMMITMENT, "4000"),  # up to 8,000; the one-off lines do not count
        (LineKind.EXTRA, "3000"),
        (LineKind.EXTRA, "-500"),
    ]
    assert [str(sum_) for sum_ in (invoice.subtotal, invoice.tax, invoice.total)] == [
        "10500",
        "1050",
        "11550",
    ]


def test_a_one_off_line_states_day_quantity_price_and_amount() -> None:
    training = one_off("12000.5", description="導入研修", quantity="1.5", unit="日")
    line = only_one_off(training).lines[0]
    assert (line.description, str(line.exact_amount), str(line.amount)) == ("導入研修", "18000.75", "18000")
    assert (line.quantity, line.unit, line.unit_amount) == (Decimal("1.5"), "日", Decimal("12000.5"))
    assert (line.plan, line.metric) == (None, None)
    assert line.service_from == line.service_to == date(2026, 10, 20)
    assert line.explanation == ("1.5 日 × 12,000.5 円",)


def test_a_month_without_a_plan_may_have_one_off_lines_alone() -> None:
    invoice = only_one_off(one_off("3000"), commitments=(own_minimum("99999"),))
    assert [str(line.amount) for line in invoice.lines] == ["3000"]
    assert invoice.total == 3300


def test_a_one_off_line_in_another_currency_is_refused() -> None:
    with pytest.raises(
        BillingError, match="2026-10-20 の個別明細「初期設定」の通貨 USD がテナントの通貨 JPY と違います"
    ) as refusal:
        only_one_off(one_off("3000", currency="USD"))
    assert refusal.value.code == "EXTRA_CHARGE_CURRENCY"
    assert "「個別明細の取り消し」で取り消してください" in str(refusal.value)


def test_a_total_below_0_is_refused_with_what_to_do() -> None:
    with pytest.raises(BillingError, match="請求額が -1,100 JPY となり、0 を下回ります") as refusal:
        price(inputs(extra_charges=(one_off("-11000"),)))
    assert refusal.value.code == "NEGATIVE_TOTAL"
    assert "個別明細を取り消して" in str(refusal.value)
    assert "後の月の日付" in str(refusal.value)
    assert "返還" in str(refusal.value)


def test_a_deduction_may_take_all_of_it() -> None:
    invoice = price(inputs(extra_charges=(one_off("-10000"),)))
    assert len(invoice.lines) == 2
    assert invoice.total == 0


@pytest.mark.parametrize(("rounding", "tax"), [("floor", "-20"), ("half-up", "-20"), ("ceil", "-21")])
def test_a_deduction_at_another_rate_mirrors_the_tax_of_a_charge(rounding: str, tax: str) -> None:
    deduction = one_off("-255", tax_category="reduced")
    invoice = price(inputs(extra_charges=(deduction,), rounding=RoundingMode(rounding)))
    assert totals_by_category(invoice) == {"standard": ("10000", "1000"), "reduced": ("-255", tax)}
    assert invoice.total == 10000 - 255 + 1000 + Decimal(tax)


# The tenant's tax category -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", TaxCategory)
def test_the_tenants_tax_category_replaces_that_of_plan_charges_discounts_and_minimum(
    category: TaxCategory,
) -> None:
    reports = charge("standard", "reports_generated", unit_amount=10, tax="reduced")
    month = inputs(
        parts=(part(plan("10000", reports, tax="exempt")),),
        usage_days=usage_days(reports_generated=10),
        discounts=(percent_off("10"), amount_off("100")),
        commitments=(own_minimum("20000"),),
        tax_category=category,
    )
    invoice = price(month)
    assert [line.kind for line in invoice.lines] == list(LineKind)[:5]
    assert {line.tax_category for line in invoice.lines} == {category}
    percent = {TaxCategory.STANDARD: 10, TaxCategory.REDUCED: 8}.get(category, 0)
    assert totals_by_category(invoice) == {category.value: ("20000", str(200 * percent))}


def test_a_one_off_line_keeps_its_own_tax_category() -> None:
    invoice = price(
        inputs(
            tax_category=TaxCategory.NOT_TAXABLE,
            extra_charges=(one_off("100"), one_off("9", tax_category="export")),
        )
    )
    assert totals_by_category(invoice) == {
        "standard": ("100", "10"),
        "not_taxable": ("10000", "0"),
        "export": ("9", "0"),
    }


def test_an_invoice_names_the_one_that_it_replaces() -> None:
    replaced = DocumentReference(number="INV-2026-10-001", issued_on=date(2026, 11, 1))
    assert price(inputs(replaces=replaced)).replaces == replaced
    assert price(inputs()).replaces is None
