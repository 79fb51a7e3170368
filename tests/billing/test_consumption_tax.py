"""Consumption tax: rounded once per rate."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.pricing.consumption_tax import (
    TaxCategory,
    TaxTotal,
    rate_percent,
    tax_totals,
)

FLOOR, HALF_UP, CEIL = RoundingMode.FLOOR, RoundingMode.HALF_UP, RoundingMode.CEIL
STANDARD, REDUCED, EXEMPT = TaxCategory.STANDARD, TaxCategory.REDUCED, TaxCategory.EXEMPT


def totals(
    *lines: tuple[TaxCategory, Decimal],
    included: bool = False,
    rounding: RoundingMode = FLOOR,
    currency: str = "JPY",
) -> tuple[TaxTotal, ...]:
    return tax_totals(lines, on=date(2026, 10, 31), included=included, currency=currency, rounding=rounding)


def tax(category: TaxCategory, rounding: RoundingMode, *amounts: str, included: bool = False) -> str:
    """The tax on lines of one rate."""
    (total,) = totals(*[(category, Decimal(each)) for each in amounts], included=included, rounding=rounding)
    return str(total.tax_amount)


def shown(total: TaxTotal) -> tuple[TaxCategory, str, str, str]:
    """Rate, taxable amount and tax."""
    return total.category, str(total.rate_percent), str(total.taxable_amount), str(total.tax_amount)


@pytest.mark.parametrize(
    ("category", "amounts", "floor", "half_up", "ceil"),
    [
        (STANDARD, ["105", "105", "105"], "31", "32", "32"),
        (REDUCED, ["13861", "13199"], "2164", "2165", "2165"),
        (STANDARD, ["4389", "23769"], "2815", "2816", "2816"),
        (EXEMPT, ["4389", "23769"], "0", "0", "0"),
        (STANDARD, ["100", "-100"], "0", "0", "0"),
        (STANDARD, ["-105", "-105", "-105"], "-31", "-32", "-32"),
    ],
)
def test_tax_on_top_is_rounded_once_for_all_lines_of_a_rate(
    category: TaxCategory, amounts: list[str], floor: str, half_up: str, ceil: str
) -> None:
    assert [tax(category, mode, *amounts) for mode in RoundingMode] == [floor, half_up, ceil]


@pytest.mark.parametrize(
    ("category", "amount", "floor", "half_up", "ceil"),
    [
        (STANDARD, "6912", "628", "628", "629"),
        (REDUCED, "999", "74", "74", "74"),
        (EXEMPT, "999", "0", "0", "0"),
    ],
)
def test_tax_that_is_included_is_taken_out_of_the_gross_total(
    category: TaxCategory, amount: str, floor: str, half_up: str, ceil: str
) -> None:
    assert [tax(category, mode, amount, included=True) for mode in RoundingMode] == [floor, half_up, ceil]


def test_tax_has_the_decimals_of_the_currency() -> None:
    (dollars,) = totals((STANDARD, Decimal("19.35")), currency="USD")
    (dinars,) = totals((STANDARD, Decimal("19.355")), currency="KWD", rounding=CEIL)
    assert (str(dollars.tax_amount), str(dinars.tax_amount)) == ("1.93", "1.936")


def test_each_rate_has_one_total_and_the_highest_comes_first() -> None:
    lines = [(EXEMPT, 1), (REDUCED, 100), (STANDARD, 1000), (REDUCED, 200)]
    found = totals(*[(category, Decimal(amount)) for category, amount in lines])
    assert [shown(total) for total in found] == [
        (STANDARD, "10", "1000", "100"),
        (REDUCED, "8", "300", "24"),
        (EXEMPT, "0", "1", "0"),
    ]


def test_a_rate_that_no_line_has_is_left_out() -> None:
    assert [total.category for total in totals((REDUCED, Decimal(100)))] == [REDUCED]
    assert totals() == ()


def test_the_first_day_with_two_rates_is_october_1st_2019() -> None:
    assert [rate_percent(category, date(2019, 10, 1)) for category in (STANDARD, REDUCED, EXEMPT)] == [
        10,
        8,
        0,
    ]
    with pytest.raises(ValueError, match="no consumption tax rate is known for 2019-09-30"):
        rate_percent(STANDARD, date(2019, 9, 30))


def test_a_credit_negates_both_amounts() -> None:
    (total,) = totals((REDUCED, Decimal(999)))
    assert shown(total.negated()) == (REDUCED, "8", "-999", "-79")


some_lines = st.lists(
    st.tuples(st.sampled_from(TaxCategory), st.integers(0, 10**7).map(Decimal)), min_size=1, max_size=12
)
RATES = dict.fromkeys(TaxCategory, 0) | {STANDARD: 10, REDUCED: 8}


@given(
    some_lines.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))),
    st.booleans(),
    st.sampled_from(RoundingMode),
)
def test_tax_does_not_depend_on_the_order_of_the_lines(
    orders: tuple[list[tuple[TaxCategory, Decimal]], ...], included: bool, rounding: RoundingMode
) -> None:
    one, other = (totals(*lines, included=included, rounding=rounding) for lines in orders)
    assert one == other


@given(some_lines, st.booleans(), st.sampled_from(RoundingMode))
def test_the_tax_of_a_rate_is_within_a_yen_of_exact(
    lines: list[tuple[TaxCategory, Decimal]], included: bool, rounding: RoundingMode
) -> None:
    for total in totals(*lines, included=included, rounding=rounding):
        rate = RATES[total.category]
        taxable = sum(int(amount) for category, amount in lines if category is total.category)
        exact = Fraction(taxable * rate, 100 + rate if included else 100)
        error = Fraction(total.tax_amount) - exact
        assert abs(error) < 1
        assert rounding is not FLOOR or error <= 0
        assert rounding is not HALF_UP or abs(error) <= Fraction(1, 2)
        assert rounding is not CEIL or error >= 0
