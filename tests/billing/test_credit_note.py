"""Credit notes for an invoice or a part of it: lines, tax per rate, and the remaining amounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from include.skillreport.billing.documents.credit_note import CreditedPart, credit_note
from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.money import RoundingMode, round_to_minor_unit
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from tests.billing.random_months import months, priced
from tests.worlds import sample_invoices as samples

FLOOR = RoundingMode.FLOOR


def credit(
    original: Invoice,
    *parts: CreditedPart,
    earlier: Sequence[Invoice] = (),
    rounding: RoundingMode = FLOOR,
) -> Invoice:
    return credit_note(original, earlier, parts or None, reason="訂正", rounding=rounding)


def amount(position: int, value: str) -> CreditedPart:
    return CreditedPart(position, amount=Decimal(value))


def quantity(position: int, value: str) -> CreditedPart:
    return CreditedPart(position, quantity=Decimal(value))


def shown(invoice: Invoice) -> list[tuple[int | None, Decimal]]:
    return [(line.credited_position, line.amount) for line in invoice.lines]


def test_a_credit_of_everything_is_the_original_with_the_opposite_sign() -> None:
    original = samples.mixed_rates()
    note = credit(original)
    assert note.kind is InvoiceKind.CREDIT
    assert [line.amount for line in note.lines] == [-line.amount for line in original.lines]
    assert (note.subtotal, note.tax, note.total) == (-original.subtotal, -original.tax, -original.total)


def test_a_credit_note_names_its_original_with_its_date_and_the_reason() -> None:
    original = samples.ordinary()
    note = credit(original)
    assert (note.original_number, note.original_issued_on, note.reason) == (
        original.number,
        original.issued_on,
        "訂正",
    )
    assert (note.number, note.issued_on, note.due_on) == (None, None, None)


def test_a_part_of_a_line_is_taxed_by_itself() -> None:
    note = credit(samples.ordinary(), amount(1, "1005"))
    assert shown(note) == [(1, Decimal(-1005))]
    assert (note.subtotal, note.tax, note.total) == (Decimal(-1005), Decimal(-100), Decimal(-1105))
    assert note.lines[0].explanation == ("INV-2026-10-001 の 1 行目の一部",)
    assert note.lines[0].quantity is None


@pytest.mark.parametrize(("rounding", "tax"), [("floor", -100), ("half-up", -101), ("ceil", -101)])
def test_the_tax_is_rounded_by_the_originals_mode(rounding: str, tax: int) -> None:
    note = credit(samples.ordinary(), amount(1, "1005"), rounding=RoundingMode(rounding))
    assert note.tax == tax


def test_a_quantity_is_credited_at_the_lines_price() -> None:
    original = samples.ordinary()
    line = next(line for line in original.lines if line.quantity and line.quantity > 2)
    assert line.unit_amount is not None
    note = credit(original, quantity(line.position, "2"))
    assert note.lines[0].amount == -2 * line.unit_amount
    assert (note.lines[0].quantity, note.lines[0].unit) == (Decimal(2), line.unit)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([CreditedPart(9, amount=Decimal(1))], "9 行目はありません"),
        ([CreditedPart(1, amount=Decimal(0))], "0 より大きく残額"),
        ([CreditedPart(1, amount=Decimal(-1))], "0 より大きく残額"),
        ([CreditedPart(1, amount=Decimal("0.5"))], "払えない端数"),
        ([CreditedPart(1, amount=Decimal(10**9))], "0 より大きく残額"),
        ([CreditedPart(4, quantity=Decimal(1))], "数量がありません"),
        ([CreditedPart(2, quantity=Decimal(10**6))], "0 より大きく残りの"),
    ],
)
def test_invalid_parts_of_an_invoice_are_not_credited(parts: list[CreditedPart], message: str) -> None:
    with pytest.raises(BillingError, match=message):
        credit(samples.ordinary(), *parts)


def test_the_last_quantities_take_what_rounding_up_has_left() -> None:
    # 10 units for ¥15: each is ¥1.5, and rounded up ¥2. After seven of them, ¥1 is left for the other three.
    line = samples.line(1, "10 個", "15", quantity="10", unit_amount="1.5", category=TaxCategory.NOT_TAXABLE)
    original, earlier = samples.invoice([line]), list[Invoice]()
    for _ in range(8):
        earlier.append(credit(original, quantity(1, "1"), earlier=earlier, rounding=RoundingMode.CEIL))
    assert [-note.lines[0].amount for note in earlier] == [2] * 7 + [1]


def test_never_more_is_credited_than_earlier_credit_notes_have_left() -> None:
    original = samples.ordinary()
    whole = original.lines[0].amount
    first = credit(original, amount(1, str(whole - 10)))
    with pytest.raises(BillingError, match="残額 10 JPY 以下"):
        credit(original, amount(1, "11"), earlier=[first])
    second = credit(original, amount(1, "10"), earlier=[first])
    with pytest.raises(BillingError, match="残額 0 JPY 以下"):
        credit(original, amount(1, "1"), earlier=[first, second])


def test_the_same_line_named_twice_is_not_credited_twice() -> None:
    original = samples.ordinary()
    whole = str(original.lines[0].amount)
    with pytest.raises(BillingError, match="残額 0 JPY 以下"):
        credit(original, amount(1, whole), amount(1, whole))


def test_after_everything_nothing_is_left() -> None:
    original = samples.ordinary()
    with pytest.raises(BillingError, match="すべて返還済み"):
        credit(original, earlier=[credit(original)])


def test_a_credit_without_the_discount_line_stays_within_the_rate() -> None:
    original = samples.ordinary()
    discounts = [line for line in original.lines if line.amount < 0]
    assert discounts, "the sample has a discount"
    charges = [amount(line.position, str(line.amount)) for line in original.lines if line.amount > 0]
    with pytest.raises(BillingError, match="値引きを引いた残額"):
        credit(original, *charges)
    whole = credit(original, *charges, *(amount(line.position, str(-line.amount)) for line in discounts))
    assert whole.total == -original.total


def with_deduction() -> Invoice:
    """¥10,000 and its tax of ¥1,000, less ¥3,000 out of scope: ¥8,000."""
    return samples.invoice(
        [
            samples.line(1, "基本料金", "10000"),
            samples.line(2, "前受金の充当", "-3000", category=TaxCategory.OUT_OF_SCOPE),
        ]
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([amount(2, "3000")], "返還額の合計 -3,000 JPY が 0 以下"),
        ([amount(1, "1000"), amount(2, "1100")], "返還額の合計 0 JPY が 0 以下"),
        (
            [amount(1, "10000")],
            r"返還額の合計 11,000 JPY が残額 8,000 JPY を超えます。減額（マイナス）の行も指定",
        ),
        ([amount(1, "7273")], "残額の全部ですが、税区分ごとの残りが打ち消されません"),
    ],
)
def test_the_lines_above_and_below_0_of_several_rates_are_credited_together(
    parts: list[CreditedPart], message: str
) -> None:
    with pytest.raises(BillingError, match=message):
        credit(with_deduction(), *parts)


def test_more_than_the_total_is_refused_with_the_earlier_credit_notes_too() -> None:
    original = with_deduction()
    first = credit(original, amount(1, "5000"))
    with pytest.raises(BillingError, match="返還額の合計 3,300 JPY が残額 2,500 JPY を超えます"):
        credit(original, amount(1, "3000"), earlier=[first])
    assert credit(original, earlier=[first]).total == -2500


def test_the_tax_in_yen_of_a_part_is_at_the_originals_rate() -> None:
    original = samples.us_dollars()
    assert original.yen_tax is not None
    note = credit(original, amount(1, "1.00"))
    assert note.yen_tax is not None
    (total,) = note.yen_tax.totals
    assert total.taxable_amount == -(original.yen_tax.yen_per_unit // 1)
    rest = credit(original, earlier=[note])
    assert rest.yen_tax is not None
    (left,), (whole,) = rest.yen_tax.totals, original.yen_tax.totals
    assert total.tax_amount + left.tax_amount == -whole.tax_amount
    assert total.taxable_amount + left.taxable_amount == -whole.taxable_amount


@given(
    st.sampled_from([samples.ordinary(), samples.mixed_rates(), samples.us_dollars()]),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 10_000)), max_size=8),
    st.sampled_from(RoundingMode),
)
@settings(max_examples=200)
def test_partial_credits_and_the_rest_cancel_the_invoice_exactly(
    original: Invoice, parts: list[tuple[int, int]], rounding: RoundingMode
) -> None:
    notes: list[Invoice] = []
    for position, value in parts:
        try:
            notes.append(credit(original, amount(position, str(value)), earlier=notes, rounding=rounding))
        except BillingError:
            continue
    if original.total + sum(note.total for note in notes):
        notes.append(credit(original, earlier=notes, rounding=rounding))
    assert original.subtotal + sum(note.subtotal for note in notes) == 0
    assert original.tax + sum(note.tax for note in notes) == 0
    for category in TaxCategory:
        left = [
            total for each in (original, *notes) for total in each.tax_totals if total.category is category
        ]
        assert sum(total.taxable_amount for total in left) == sum(total.tax_amount for total in left) == 0
    for note in notes:
        for total in note.tax_totals:
            assert total.tax_amount <= 0
            assert note.issued_on is None or isinstance(note.issued_on, date)


@given(
    months(), st.lists(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 100)), max_size=3), max_size=4)
)
def test_every_credit_note_lowers_the_debt_and_never_below_0(
    month: BillingInputs, wanted: list[list[tuple[int, int]]]
) -> None:
    """Each part is a line, by its position, and a percentage of it."""
    original = priced(month)
    assume(original.total > 0)
    notes: list[Invoice] = []
    for parts in [*wanted, []]:
        named = [
            CreditedPart(
                line.position, round_to_minor_unit(abs(line.amount) * share / 100, original.currency, FLOOR)
            )
            for position, share in parts
            for line in [original.lines[position % len(original.lines)]]
        ]
        try:
            note = credit(original, *named, earlier=notes, rounding=month.rounding)
        except BillingError:
            continue
        assert note.total < 0
        notes.append(note)
        assert note.remaining_total == original.total + sum(each.total for each in notes) >= 0
        if note.remaining_total == 0:
            break
    assert original.total + sum(note.total for note in notes) == 0
    for total in original.tax_totals:
        of_rate = [each for note in notes for each in note.tax_totals if each.category is total.category]
        assert total.tax_amount + sum(each.tax_amount for each in of_rate) == 0
