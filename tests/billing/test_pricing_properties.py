"""Properties of the invoice of any month. A second calculation from the rules gives the same invoice."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from include.skillreport.billing.documents.credit_note import credit_note
from include.skillreport.billing.documents.invoice import Invoice, LineKind
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.money import RoundingMode, minor_unit, round_to_minor_unit
from include.skillreport.billing.pricing.calculation import calculate, price
from tests.billing.billing_inputs import own_minimum, with_fixed_discounts
from tests.billing.pricing_oracle import Oracle
from tests.billing.random_months import months, priced

DISCOUNTS = (LineKind.PERCENTAGE_DISCOUNT, LineKind.FIXED_DISCOUNT)


# The same as the rule book -----------------------------------------------------------------------------------------------


@given(months())
def test_lines_tax_and_total_equal_the_oracle_of_the_rules(month: BillingInputs) -> None:
    _require_equal_to_the_oracle(month)


@pytest.mark.long
@given(months())
@settings(max_examples=5_000)
def test_thousands_of_months_equal_the_oracle_of_the_rules(month: BillingInputs) -> None:
    _require_equal_to_the_oracle(month)


def _require_equal_to_the_oracle(month: BillingInputs) -> None:
    expected = Oracle(month.frozen())
    lines = calculate(month).lines
    assert [(line.kind.value, line.tax_category.value, Fraction(line.amount)) for line in lines] == [
        (line.kind, line.category, line.amount) for line in expected.lines
    ]
    for line, exact in zip(lines, expected.lines, strict=True):
        assert abs(Fraction(line.exact_amount) - exact.exact) < Fraction(1, 10**15)
    if expected.total < 0:
        assert _refusal_code(month) == "NEGATIVE_TOTAL"
        return
    invoice = price(month)
    assert Fraction(invoice.total) == expected.total
    assert {total.category.value: Fraction(total.tax_amount) for total in invoice.tax_totals} == {
        category: tax
        for category, tax in expected.tax.items()
        if any(line.tax_category == category for line in invoice.lines)
    }


def _refusal_code(month: BillingInputs) -> str | None:
    try:
        price(month)
    except BillingError as refusal:
        return refusal.code
    return None


# Properties of all inputs ------------------------------------------------------------------------------------------------


@given(months())
def test_the_displayed_lines_make_the_subtotal_and_with_the_tax_the_total(month: BillingInputs) -> None:
    invoice = priced(month)
    assert sum(line.amount for line in invoice.lines) == invoice.subtotal
    assert sum(total.taxable_amount for total in invoice.tax_totals) == invoice.subtotal
    assert sum(total.tax_amount for total in invoice.tax_totals) == invoice.tax
    assert invoice.total == (invoice.subtotal if month.tax_included else invoice.subtotal + invoice.tax)


@given(months())
def test_every_amount_can_be_paid_and_is_its_exact_amount_rounded_once(month: BillingInputs) -> None:
    for line in priced(month).lines:
        assert line.amount.as_tuple().exponent == minor_unit(month.currency).as_tuple().exponent
        assert abs(Fraction(line.amount) - Fraction(line.exact_amount)) < Fraction(minor_unit(month.currency))


@given(months())
def test_nothing_is_ever_negative_but_a_discount_and_a_deduction(month: BillingInputs) -> None:
    invoice = priced(month)
    assert invoice.total >= 0
    deducted = {
        line.tax_category for line in invoice.lines if line.kind is LineKind.EXTRA and line.amount < 0
    }
    for total in invoice.tax_totals:
        assert total.category in deducted or total.taxable_amount >= 0
        assert total.taxable_amount * total.tax_amount >= 0
    for line in invoice.lines:
        assert line.kind is LineKind.EXTRA or (line.amount < 0) == (line.kind in DISCOUNTS)


@given(months(), st.decimals(0, 10**6, places=3))
def test_the_minimum_is_always_reached_without_the_one_off_lines(
    month: BillingInputs, minimum: Decimal
) -> None:
    own = own_minimum(str(minimum), currency=month.currency)
    lines = calculate(month.model_copy(update={"commitments": (own,)})).lines
    reached = sum(line.amount for line in lines if line.kind is not LineKind.EXTRA)
    assert reached >= round_to_minor_unit(minimum, month.currency, RoundingMode.FLOOR)


@given(
    fees=st.tuples(*[st.integers(0, 30)] * 3),
    discount=st.integers(1, 100),
    rounding=st.sampled_from(RoundingMode),
)
@example(fees=(10, 10, 10), discount=29, rounding=RoundingMode.FLOOR)
def test_an_amount_off_is_exact_and_leaves_no_rate_below_0(
    fees: tuple[int, int, int], discount: int, rounding: RoundingMode
) -> None:
    by_tax = dict(zip(("standard", "reduced", "exempt"), map(str, fees), strict=True))
    month = with_fixed_discounts([str(discount)], **by_tax).model_copy(update={"rounding": rounding})
    invoice = price(month)
    taken = sum(line.amount for line in invoice.lines if line.kind is LineKind.FIXED_DISCOUNT)
    assert -taken == min(discount, sum(fees))
    assert all(total.taxable_amount >= 0 for total in invoice.tax_totals)


@given(months())
def test_the_language_changes_words_and_no_figure(month: BillingInputs) -> None:
    def figures(language: str) -> list[tuple[Any, ...]]:
        lines = calculate(month.model_copy(update={"language": language})).lines
        return [(line.kind, line.amount, line.exact_amount, line.quantity) for line in lines]

    assert figures("ja") == figures("en")


# The same inputs, the same bytes -----------------------------------------------------------------------------------------


def shuffled(value: Any, random: Any) -> Any:
    """The same JSON with the keys of its objects in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], random) for key in random.sample(sorted(value), len(value))}
    return [shuffled(each, random) for each in value] if isinstance(value, list) else value


@given(months(), st.randoms())
@settings(max_examples=30)
def test_stored_inputs_have_the_same_bytes_in_any_key_order(month: BillingInputs, random: Any) -> None:
    stored = json.dumps(shuffled(json.loads(month.canonical_json()), random))
    again = BillingInputs.model_validate_json(stored)
    assert again.canonical_json() == month.canonical_json()
    assert again.digest() == month.digest()
    assert priced(again).model_dump_json() == priced(month).model_dump_json()


@given(months())
def test_an_invoice_survives_its_storage(month: BillingInputs) -> None:
    invoice = priced(month)
    assert (
        Invoice.model_validate_json(invoice.model_dump_json()).model_dump_json() == invoice.model_dump_json()
    )


# Credits -----------------------------------------------------------------------------------------------------------------


@given(months())
def test_a_credit_exactly_cancels_its_original(month: BillingInputs) -> None:
    original = priced(month)
    assume(original.total > 0)
    credit = credit_note(original, (), None, reason="解約のため", rounding=month.rounding)
    assert original.subtotal + credit.subtotal == original.tax + credit.tax == 0
    assert original.total + credit.total == 0
    for line, cancelled in zip([each for each in original.lines if each.amount], credit.lines, strict=True):
        assert line.amount + cancelled.amount == 0
        assert line.quantity == cancelled.quantity
    yen_totals = [invoice.yen_tax.totals if invoice.yen_tax else () for invoice in (original, credit)]
    for total, cancelled_total in zip(
        original.tax_totals + yen_totals[0], credit.tax_totals + yen_totals[1], strict=True
    ):
        assert total.taxable_amount + cancelled_total.taxable_amount == 0
        assert total.tax_amount + cancelled_total.tax_amount == 0
