"""One invoice from its inputs: the order of the calculation, refused inputs, and properties of all invoices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind, InvoiceLine, LineKind
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.pricing.calculation import calculate, price
from include.skillreport.billing.pricing.commitments import Commitment
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.explanation import explain
from include.skillreport.billing.pricing.price_list import load_price_list
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from tests.billing.billing_inputs import (
    OCTOBER,
    amount_off,
    charge,
    inputs,
    own_minimum,
    part,
    percent_off,
    plan,
    units_off,
    usage_days,
    with_fixed_discounts,
    yen,
)
from tests.worlds import sample_invoices as samples

BASE, USAGE, PERCENT, FIXED, COMMITMENT, EXTRA = LineKind
STANDARD, REDUCED, EXEMPT = TaxCategory.STANDARD, TaxCategory.REDUCED, TaxCategory.EXEMPT

CALLS = charge("standard", unit_amount="0.5")
USERS = charge("standard", "active_users", unit_amount="500")


def amounts(lines: Sequence[InvoiceLine], *kinds: LineKind) -> list[str]:
    """The displayed amounts, of these kinds or of all."""
    return [str(line.amount) for line in lines if not kinds or line.kind in kinds]


def amount_of(invoice: Invoice, kind: LineKind) -> Decimal:
    """The sum of the lines of this kind."""
    return sum((line.amount for line in invoice.lines if line.kind is kind), Decimal(0))


def sums(invoice: Invoice) -> list[str]:
    """Subtotal, tax and total."""
    return [str(invoice.subtotal), str(invoice.tax), str(invoice.total)]


def yen_tax(invoice: Invoice) -> list[str]:
    """Taxable amount and tax in yen of an invoice with one rate."""
    assert invoice.yen_tax is not None
    (total,) = invoice.yen_tax.totals
    return [str(total.taxable_amount), str(total.tax_amount)]


def refusal_of(**changes: Any) -> BillingError:
    with pytest.raises(BillingError) as refusal:
        price(inputs(**changes))
    return refusal.value


# The order ---------------------------------------------------------------------------------------------------------------


def test_every_step_starts_from_the_one_before() -> None:
    subscribed = plan("30000", CALLS, included={"api_calls": "31000"}, minimum_commitment="31000")
    invoice = price(
        inputs(
            parts=(part(subscribed, 16, 31),),
            usage_days=usage_days(16, 31, api_calls=1500),
            discounts=(amount_off("3000"), percent_off("10")),
        )
    )
    assert [(line.kind, str(line.amount)) for line in invoice.lines] == [
        (BASE, "15483"),  # 30,000 x 16/31
        (USAGE, "4000"),  # 24,000 calls, 16,000 of them free, at 0.5
        (PERCENT, "-1948"),  # 10 % of 19,483
        (FIXED, "-1548"),  # 3,000 x 16/31
        (COMMITMENT, "13"),  # 16,000 are 16/31 of the minimum, and 15,987 are reached
    ]
    assert [line.position for line in invoice.lines] == [1, 2, 3, 4, 5]
    assert sums(invoice) == ["16000", "1600", "17600"]


def test_a_month_without_anything_else_is_the_base_fee_and_its_tax() -> None:
    invoice = price(inputs())
    (line,) = invoice.lines
    assert (line.kind, line.description) == (BASE, "ベーシックプラン 基本料金")
    assert (line.service_from, line.service_to) == (OCTOBER.start, OCTOBER.end)
    assert sums(invoice) == ["10000", "1000", "11000"]
    assert (invoice.kind, invoice.number) == (InvoiceKind.INVOICE, None)
    assert (invoice.issued_on, invoice.due_on) == (None, None)


def test_prices_that_include_tax_are_the_total() -> None:
    invoice = price(inputs(parts=(part(plan("6912")),), tax_included=True))
    assert sums(invoice) == ["6912", "628", "6912"]


def test_lines_that_come_to_nothing_are_explained_but_not_invoiced() -> None:
    free = inputs(parts=(part(plan("0", CALLS)),))
    assert amounts(calculate(free).lines) == ["0", "0", "0"]
    invoice = price(free)
    assert invoice.lines == ()
    assert sums(invoice) == ["0", "0", "0"]


def test_a_month_without_any_part_comes_to_nothing() -> None:
    assert price(inputs(parts=(), usage_days=(), commitments=(own_minimum("5000"),))).total == 0


# Lines -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "fee", "exact", "shown"),
    [
        ("JPY", "10000", "1935.483870967741935483870967741935", "1935"),
        ("USD", "100", "19.354838709677419354838709677419", "19.35"),
        ("KWD", "100", "19.354838709677419354838709677419", "19.354"),
    ],
)
def test_a_line_keeps_its_exact_amount_and_shows_the_minor_units(
    currency: str, fee: str, exact: str, shown: str
) -> None:
    days = part(plan(fee, currency=currency), 26, 31)
    invoice = price(inputs(parts=(days,), currency=currency, exchange_rate=yen("150")))
    (line,) = invoice.lines
    assert (str(line.exact_amount), str(line.amount), str(invoice.subtotal)) == (exact, shown, shown)


@pytest.mark.parametrize(
    ("rounding", "shown", "subtotal"),
    [
        ("floor", ["4838", "5161"], "9999"),
        ("half-up", ["4839", "5161"], "10000"),
        ("ceil", ["4839", "5162"], "10001"),
    ],
)
def test_the_subtotal_is_what_the_displayed_lines_add_up_to(
    rounding: str, shown: list[str], subtotal: str
) -> None:
    parts = (part(plan(), 1, 15, "A"), part(plan(), 16, 31, "B"))
    invoice = price(inputs(parts=parts, rounding=RoundingMode(rounding)))
    assert amounts(invoice.lines) == shown
    assert str(invoice.subtotal) == subtotal


def test_tax_is_on_the_sum_of_the_lines_of_a_rate() -> None:
    lines = [charge("standard", name=name, unit_amount="1") for name in "abc"]
    invoice = price(inputs(parts=(part(plan("0", *lines)),), usage_days=usage_days(1, 31, api_calls=5)))
    assert amounts(invoice.lines) == ["155", "155", "155"]
    assert invoice.tax == 46  # and not 3 x 15


def test_a_charge_may_have_another_tax_rate_than_its_plan() -> None:
    plans = plan("10000", charge("standard", unit_amount="1", tax="reduced"), tax="exempt")
    invoice = price(inputs(parts=(part(plans),), usage_days=usage_days(api_calls=100)))
    assert [
        (total.category, str(total.taxable_amount), str(total.tax_amount)) for total in invoice.tax_totals
    ] == [(REDUCED, "3100", "248"), (EXEMPT, "10000", "0")]


def test_a_usage_line_says_quantity_unit_and_price() -> None:
    subscribed = plan("0", CALLS, included={"api_calls": "1000"})
    (line,) = price(inputs(parts=(part(subscribed),), usage_days=usage_days(api_calls=100))).lines
    assert line.position == 1
    assert (line.plan, line.metric, line.quantity, line.unit, line.unit_amount) == (
        "BASIC",
        "api_calls",
        Decimal(2100),
        "回",
        Decimal("0.5"),
    )
    assert line.explanation == (
        "API 呼び出しの合計 3,100 回（31 日分）",
        "無料分 1,000 回 を差し引き 2,100 回",
        "従量料金",
    )


def test_a_line_with_several_prices_shows_no_unit_price() -> None:
    tiers = [{"up_to": 1000, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5"}]
    subscribed = plan("0", charge("graduated", tiers=tiers), charge("volume", tiers=tiers))
    lines = price(inputs(parts=(part(subscribed),), usage_days=usage_days(api_calls=100))).lines
    assert [(str(line.amount), line.unit_amount) for line in lines] == [("2050", None), ("1550", None)]


@pytest.mark.parametrize(
    "prices",
    [
        charge("standard", unit_amount="1", included="100"),
        charge("package", package_size="1", package_amount="1", free_units="100"),
    ],
)
def test_the_quantity_on_a_line_excludes_all_free_units(prices: dict[str, Any]) -> None:
    (line,) = price(inputs(parts=(part(plan("0", prices)),), usage_days=usage_days(api_calls=100))).lines
    assert (str(line.quantity), str(line.amount)) == ("3000", "3000")


def test_days_that_were_closed_again_are_mentioned() -> None:
    days = (*usage_days(1, 29), *usage_days(30, 31, revision=2))
    _, usage, _ = calculate(inputs(parts=(part(plan("0", CALLS)),), usage_days=days)).lines
    assert usage.explanation[1] == "再締めされた日: 2 日"


def test_proration_is_explained() -> None:
    _, second, _ = calculate(inputs(parts=(part(plan(), 1, 15), part(plan("30000"), 16, 31)))).lines
    assert second.explanation == ("30,000 円 × 16 日 ÷ 31 日（日割り）",)
    assert second.unit_amount is None


# Figures without a record ------------------------------------------------------------------------------------------------

REPORTS = charge("standard", "reports_generated", unit_amount="10", name="帳票作成")


@pytest.mark.parametrize(
    "absent",
    [
        charge("standard", unit_amount="1", name="追加"),
        charge("package", package_size="10", package_amount="9", name="追加"),
        charge("graduated", tiers=[{"up_to": None, "unit_amount": 1, "flat_amount": 5}], name="追加"),
        charge("volume", tiers=[{"up_to": None, "unit_amount": 1, "flat_amount": 5}], name="追加"),
        charge("standard", "storage_gb", unit_amount="1", name="追加"),
    ],
)
def test_a_charge_without_any_record_is_a_remark_and_no_line(absent: dict[str, Any]) -> None:
    days = usage_days(api_calls=None, storage_gb=None, reports_generated=1)
    month = inputs(parts=(part(plan("10000", absent, REPORTS)),), usage_days=days)
    invoice = price(month)
    assert amounts(invoice.lines, BASE, USAGE) == ["10000", "310"]
    label = "ストレージ" if absent["metric"] == "storage_gb" else "API 呼び出し"
    assert invoice.remarks == (f"{label}の記録がないため、「追加」は請求していません",)
    assert not [line for line in calculate(month).lines if line.description == "追加"]
    steps = list(explain(invoice, month))
    assert f"注記: {invoice.remarks[0]}" in steps
    rows = [step for step in steps if step.startswith("  2026-10-")]
    assert len(rows) == 31
    assert all("記録なし" in row for row in rows)


def test_the_explanation_shows_gigabytes_with_three_decimals_and_counts_without() -> None:
    storage = charge("standard", "storage_gb", unit_amount="1", name="容量")
    days = [
        day.model_copy(update={"storage_bytes": BYTES_PER_GB * 2_471 // 2})
        for day in usage_days(reports_generated=1_234)
    ]
    month = inputs(parts=(part(plan("10000", storage, REPORTS)),), usage_days=days)
    rows = [step for step in explain(price(month), month) if step.startswith("  2026-10-01")]
    assert rows == ["  2026-10-01  1,234  1,235.500  1"]


def test_a_part_without_records_is_a_remark_and_the_rest_charged() -> None:
    days = (*usage_days(1, 15, api_calls=None), *usage_days(16, 31, api_calls=10))
    parts = (part(plan("0", CALLS), 1, 15, "A"), part(plan("0", CALLS), 16, 31, "B"))
    invoice = price(inputs(parts=parts, usage_days=days))
    (line,) = invoice.lines
    assert (line.plan, str(line.amount)) == ("B", "80")
    assert invoice.remarks == (
        "API 呼び出しの記録がないため、「api_calls」（10/1〜10/15）は請求していません",
    )


def test_days_without_records_are_counted_in_remark_and_line() -> None:
    days = (*usage_days(1, 12, api_calls=None), *usage_days(13, 31, api_calls=10))
    invoice = price(inputs(parts=(part(plan("0", CALLS)),), usage_days=days))
    (line,) = invoice.lines
    assert (str(line.quantity), str(line.amount)) == ("190", "95")
    assert line.explanation[:2] == ("API 呼び出しの合計 190 回（19 日分）", "記録のない日: 12 日")
    assert invoice.remarks == (
        "API 呼び出しの記録のない日が 12 日あり、「api_calls」は記録のある日だけで計算しています",
    )


def test_the_minimum_and_the_included_quantity_stay_when_there_is_no_record() -> None:
    subscribed = plan("10000", CALLS, minimum_commitment="12000", included={"api_calls": 100})
    invoice = price(inputs(parts=(part(subscribed),), usage_days=usage_days(api_calls=None)))
    assert amounts(invoice.lines, BASE, USAGE, COMMITMENT) == ["10000", "2000"]
    days = (*usage_days(1, 30, api_calls=None), *usage_days(31, 31, api_calls=150))
    (_, usage, _) = price(inputs(parts=(part(subscribed),), usage_days=days)).lines
    assert str(usage.quantity) == "50"


@pytest.mark.parametrize(("fixed", "remarks"), [("0", 0), ("2", 1)])
def test_a_percentage_needs_no_record_but_its_events_do(fixed: str, remarks: int) -> None:
    support = charge("percentage", of="base_fee", rate=10, fixed_amount=fixed, name="サポート")
    invoice = price(inputs(parts=(part(plan("10000", support)),), usage_days=usage_days(api_calls=None)))
    line = invoice.lines[1]
    assert str(line.amount) == "1000"
    assert line.explanation == ("割合料金 10,000 円 × 10%",)
    assert (
        invoice.remarks == ("API 呼び出しの記録がないため、「サポート」の件数分は請求していません",)[:remarks]
    )


def test_remarks_are_stored_only_if_present_and_never_on_credits() -> None:
    assert "remarks" not in price(inputs()).model_dump()
    assert "remarks" not in price(inputs()).model_dump_json()
    absent = price(inputs(parts=(part(plan("10000", CALLS)),), usage_days=usage_days(api_calls=None)))
    assert Invoice.model_validate_json(absent.model_dump_json()) == absent
    assert samples.draft_credit(absent).remarks == ()


# Charges -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ({"model": "standard", "unit_amount": "0.5"}, "500"),
        ({"model": "standard", "unit_amount": "0.5", "included": "900"}, "50"),
        ({"model": "package", "package_size": "300", "package_amount": "90"}, "360"),
        ({"model": "package", "package_size": "300", "package_amount": "90", "free_units": "100"}, "270"),
        (
            {
                "model": "graduated",
                "tiers": [{"up_to": 900, "unit_amount": 1}, {"up_to": None, "unit_amount": 2}],
            },
            "1100",
        ),
        (
            {
                "model": "volume",
                "tiers": [{"up_to": 900, "unit_amount": 1}, {"up_to": None, "unit_amount": 2}],
            },
            "2000",
        ),
        ({"model": "percentage", "of": "base_fee", "rate": 10}, "1000"),
        (
            {"model": "percentage", "of": "base_fee", "rate": 0, "fixed_amount": "2", "free_events": "900"},
            "200",
        ),
    ],
)
def test_every_model_prices_the_months_quantity(fields: dict[str, Any], amount: str) -> None:
    days = (*usage_days(1, 30), *usage_days(31, 31, api_calls=1000))
    invoice = price(inputs(parts=(part(plan("10000", charge(**fields))),), usage_days=days))
    assert amounts(invoice.lines, USAGE) == [amount]


@pytest.mark.parametrize(("of", "amount"), [("base_fee", "1199"), ("usage", "2480"), ("all", "3679")])
def test_a_percentage_applies_to_its_plans_lines_and_no_other_percentage(of: str, amount: str) -> None:
    percentages = [
        charge("percentage", of="base_fee", rate=50),
        charge("percentage", name="share", of=of, rate=62),
    ]
    subscribed = plan("10000", *percentages, charge("standard", unit_amount="1"))
    # 62 % of 1,935 (of the exact base fee, 1,935.48, it is 1,200), of 4,000 calls, and of both.
    parts = (part(plan("77777"), 1, 25, "OTHER"), part(subscribed, 26, 31))
    days = (*usage_days(1, 30), *usage_days(31, 31, api_calls=4000))
    lines = price(inputs(parts=parts, usage_days=days)).lines
    (line,) = [line for line in lines if line.description == "share"]
    assert (str(line.amount), line.quantity, line.unit_amount) == (amount, None, None)


def test_storage_is_charged_by_its_average_rounded_up_to_a_tenth() -> None:
    storage = charge("standard", "storage_gb", unit_amount="100")
    days = (*usage_days(1, 16, storage_gb=10), *usage_days(17, 31, storage_gb=20))
    (line,) = price(inputs(parts=(part(plan("0", storage)),), usage_days=days)).lines
    assert (str(line.quantity), str(line.amount)) == ("14.9", "1490")  # 460 / 31 = 14.83...


def test_a_charge_may_round_to_a_step_of_its_own() -> None:
    storage = charge("standard", "storage_gb", unit_amount="100", round_up_to="5")
    (line,) = price(inputs(parts=(part(plan("0", storage)),), usage_days=usage_days(storage_gb=11))).lines
    assert (str(line.quantity), str(line.amount)) == ("15", "1500")


def test_free_quantities_of_the_plan_and_of_a_discount_add_up() -> None:
    subscribed = plan("0", CALLS, included={"api_calls": "1000"})
    changes: dict[str, Any] = {"parts": (part(subscribed),), "usage_days": usage_days(api_calls=100)}
    assert amounts(price(inputs(discounts=(units_off("2000"),), **changes)).lines) == ["50"]
    assert amounts(price(inputs(discounts=(units_off("2100"),), **changes)).lines) == []
    other_metric = units_off("2000", metric="active_users")
    assert amounts(price(inputs(discounts=(other_metric,), **changes)).lines) == ["1050"]


# Two plans in a month ----------------------------------------------------------------------------------------------------


def test_a_plan_change_makes_one_prorated_base_line_per_plan() -> None:
    parts = (part(plan("10000", name="A"), 1, 15, "A"), part(plan("30000", name="B"), 16, 31, "B"))
    invoice = price(inputs(parts=parts))
    assert [
        (line.description, line.plan, str(line.amount), line.service_from.day, line.service_to.day)
        for line in invoice.lines
    ] == [("A 基本料金", "A", "4838", 1, 15), ("B 基本料金", "B", "15483", 16, 31)]


def test_a_plan_change_charges_calls_to_the_plan_of_their_day() -> None:
    dearer = plan("0", charge("standard", unit_amount="2"))
    parts = (part(plan("0", CALLS), 1, 15, "A"), part(dearer, 16, 31, "B"))
    invoice = price(inputs(parts=parts, usage_days=usage_days(api_calls=100)))
    assert amounts(invoice.lines) == ["750", "3200"]


@pytest.mark.parametrize("aggregation", ["max", "average", "latest"])
@pytest.mark.parametrize("change_on", range(2, 32))
def test_a_plan_change_never_charges_a_level_twice(aggregation: str, change_on: int) -> None:
    prices = charge("standard", "active_users", aggregation=aggregation, unit_amount="500")
    parts = (
        part(plan("0", prices, name="A"), 1, change_on - 1, "A"),
        part(plan("0", prices, name="B"), change_on, 31, "B"),
    )
    invoice = price(inputs(parts=parts, usage_days=usage_days(active_users=20)))
    # 20 users x 500; each of the two lines is rounded down to the yen.
    assert invoice.subtotal in (9999, 10000)


def test_allowances_are_prorated_and_rounded_up_in_the_tenants_favour() -> None:
    subscribed = plan("0", CALLS, included={"api_calls": "1000"})
    parts = (part(subscribed, 1, 15, "A"), part(subscribed, 16, 31, "B"))
    days = usage_days(api_calls=100)
    quantities = [line.quantity for line in price(inputs(parts=parts, usage_days=days)).lines]
    # 484 and 517 of 1,500 and 1,600 calls are free.
    assert [str(quantity) for quantity in quantities] == ["1016", "1083"]


def test_a_level_above_the_free_quantity_is_prorated_by_days() -> None:
    subscribed = plan("0", USERS, included={"active_users": "10"})
    parts = (part(subscribed, 1, 15, "A"), part(subscribed, 16, 31, "B"))
    first, second = price(inputs(parts=parts, usage_days=usage_days(active_users=30))).lines
    assert [str(line.quantity) for line in (first, second)] == ["20.00", "20.00"]
    # 20 users x 500 yen x 15/31 and x 16/31.
    assert amounts((first, second)) == ["4838", "5161"]
    assert first.explanation[-1] == "10,000 円 × 15 日 ÷ 31 日（日割り）"


@pytest.mark.parametrize(
    "prices",
    [
        charge("standard", "active_users", unit_amount="500", included="10"),
        charge("package", "active_users", package_size="0.01", package_amount="5", free_units="10"),
        charge("percentage", "active_users", of="base_fee", rate=0, fixed_amount="500", free_events="10"),
    ],
)
def test_free_units_of_a_charge_are_prorated_like_included_ones(
    prices: dict[str, Any],
) -> None:
    parts = (part(plan("0", prices), 1, 15, "A"), part(plan("0", prices), 16, 31, "B"))
    invoice = price(inputs(parts=parts, usage_days=usage_days(active_users=20)))
    # 10 of the 20 users are free: 10 x 500, each of two lines rounded down.
    assert invoice.subtotal in (4999, 5000)


@pytest.mark.parametrize(
    ("metric", "aggregation", "usage", "amounts_of_parts"),
    [
        # Each part's 20 users reach the second tier, as the month's do: 1,100 x 15/31 and x 16/31.
        ("active_users", "max", {"active_users": 20}, ["532", "567"]),
        # 15 and 16 reports fill the first tier twice.
        ("reports_generated", "sum", {"reports_generated": 1}, ["1050", "1060"]),
    ],
)
def test_tiers_are_not_prorated(
    metric: str, aggregation: str, usage: dict[str, int], amounts_of_parts: list[str]
) -> None:
    tiers = [{"up_to": 10, "unit_amount": "100"}, {"up_to": None, "unit_amount": "10"}]
    prices = charge("graduated", metric, tiers=tiers, aggregation=aggregation)
    parts = (part(plan("0", prices), 1, 15, "A"), part(plan("0", prices), 16, 31, "B"))
    assert amounts(price(inputs(parts=parts, usage_days=usage_days(**usage))).lines) == amounts_of_parts


# Discounts ---------------------------------------------------------------------------------------------------------------


def test_percentages_are_taken_one_after_the_other() -> None:
    invoice = price(inputs(discounts=(percent_off("10", name="a"), percent_off("10", name="b"))))
    assert amounts(invoice.lines, PERCENT) == ["-1000", "-900"]
    assert invoice.lines[1].description == "a（10%）"


def test_percentages_come_before_amounts_whatever_their_order() -> None:
    invoice = price(inputs(discounts=(amount_off("5000"), percent_off("50"))))
    assert amounts(invoice.lines) == ["10000", "-5000", "-5000"]


def test_a_percentage_has_one_line_per_tax_rate() -> None:
    parts = (part(plan("10001")), part(plan("5000", tax="reduced"), code="PRESS"))
    invoice = price(inputs(parts=parts, discounts=(percent_off("15"),)))
    assert [(line.tax_category, str(line.amount)) for line in invoice.lines if line.kind is PERCENT] == [
        (STANDARD, "-1500"),
        (REDUCED, "-750"),
    ]


@pytest.mark.parametrize("percent", ["100", "150"])
@pytest.mark.parametrize("rounding", RoundingMode)
def test_100_percent_off_is_all_of_it_and_more_takes_no_more(rounding: RoundingMode, percent: str) -> None:
    assert amounts(price(inputs(discounts=(percent_off(percent),), rounding=rounding)).lines) == [
        "10000",
        "-10000",
    ]


def test_an_amount_off_never_goes_below_0() -> None:
    invoice = price(with_fixed_discounts(["7000", "7000", "7000"], standard="10000"))
    assert amounts(invoice.lines) == ["10000", "-7000", "-3000"]
    assert invoice.total == 0


def test_an_amount_off_is_spread_over_the_tax_rates_by_their_sums() -> None:
    invoice = price(with_fixed_discounts(["1000"], standard="6000", reduced="3000", exempt="1001"))
    assert [(line.tax_category, str(line.amount)) for line in invoice.lines if line.kind is FIXED] == [
        (STANDARD, "-601"),  # 599.94, 299.97 and 100.08 rounded down, and the 2 that are left
        (REDUCED, "-299"),
        (EXEMPT, "-100"),
    ]


def test_a_second_amount_off_takes_only_the_rest() -> None:
    invoice = price(with_fixed_discounts(["29", "100"], standard="10", reduced="10", exempt="10"))
    assert amount_of(invoice, FIXED) == -30
    assert amounts(invoice.lines, COMMITMENT) == []


@pytest.mark.parametrize("rounding", RoundingMode)
def test_a_fractional_amount_off_leaves_no_tax_rate_below_0(rounding: RoundingMode) -> None:
    discounted = with_fixed_discounts(["10.5"], standard="10", reduced="1")
    totals = price(discounted.model_copy(update={"rounding": rounding})).tax_totals
    assert [str(total.taxable_amount) for total in totals if total.taxable_amount < 0] == []


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "percent", "fixed"),
    [
        (date(2026, 1, 1), None, ["-322"], ["-322"]),  # 10 % of 3,225, and 1,000 x 10/31
        (date(2026, 10, 16), None, ["-322"], ["-161"]),
        (date(2026, 10, 20), None, ["-322"], ["-32"]),
        (date(2026, 10, 21), None, [], []),
        (date(2026, 1, 1), date(2026, 10, 11), ["-322"], ["-32"]),
        (date(2026, 1, 1), date(2026, 10, 10), [], []),
    ],
)
def test_an_amount_off_counts_by_its_days_and_a_percentage_in_full(
    valid_from: date, valid_to: date | None, percent: list[str], fixed: list[str]
) -> None:
    parts = (part(plan(), 11, 15, "A"), part(plan(), 16, 20, "B"))
    valid = {"valid_from": valid_from, "valid_to": valid_to}
    of_both = inputs(parts=parts, discounts=(percent_off("10", **valid), amount_off("1000", **valid)))
    lines = price(of_both).lines
    assert (amounts(lines, PERCENT), amounts(lines, FIXED)) == (percent, fixed)


# Minimum commitment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tax_included", "total"), [(False, "55000"), (True, "50000")])
def test_a_minimum_includes_tax_if_the_price_list_does(tax_included: bool, total: str) -> None:
    month = inputs(
        parts=(part(plan("11000"), 1, 31),),
        usage_days=usage_days(1, 31),
        commitments=(own_minimum("50000"),),
        tax_included=tax_included,
    )
    invoice = price(month)
    assert [line.amount for line in invoice.lines] == [Decimal(11_000), Decimal(39_000)]
    assert invoice.total == Decimal(total)


@pytest.mark.parametrize(("minimum", "difference"), [("10001", ["1"]), ("10000", []), ("9000", [])])
def test_the_difference_to_the_minimum_commitment_is_one_line(minimum: str, difference: list[str]) -> None:
    invoice = price(inputs(parts=(part(plan(minimum_commitment=minimum)),)))
    assert amounts(invoice.lines, COMMITMENT) == difference


@pytest.mark.parametrize(("own", "subtotal"), [("25000", 25000), ("0", 10000)])
def test_a_tenants_own_minimum_takes_the_place_of_the_plans(own: str, subtotal: int) -> None:
    subscribed = plan(minimum_commitment="20000")
    assert price(inputs(parts=(part(subscribed),), commitments=(own_minimum(own),))).subtotal == subtotal


def test_the_minimum_is_before_tax_and_after_discounts() -> None:
    invoice = price(inputs(discounts=(percent_off("50"),), commitments=(own_minimum("8000"),)))
    assert amounts(invoice.lines) == ["10000", "-5000", "3000"]
    assert sums(invoice) == ["8000", "800", "8800"]


def test_the_minimum_counts_for_the_days_of_its_plan() -> None:
    parts = (
        part(plan("0", minimum_commitment="31000"), 1, 10, "A"),
        part(plan("0", minimum_commitment="62000"), 21, 31, "B"),
    )
    invoice = price(inputs(parts=parts))
    assert amounts(invoice.lines) == ["32000"]  # 10,000 + 22,000
    assert price(inputs(parts=parts, commitments=(own_minimum("31000"),))).subtotal == 21000


def october(first: int, last: int | None = None) -> dict[str, date | None]:
    """From when to when a commitment is valid."""
    return {
        "valid_from": OCTOBER.start.replace(day=first),
        "valid_to": OCTOBER.start.replace(day=last) if last else None,
    }


BY_DAYS: list[tuple[str, int, list[Commitment], str, tuple[int, int] | None]] = [
    ("0", 10, [own_minimum("310000", **october(20))], "", None),
    ("0", 31, [own_minimum("310000", **october(20))], "120000", (20, 31)),
    (
        "0",
        31,
        [own_minimum("400000", **october(1, 30)), own_minimum("550000", **october(31))],
        "404838",
        (1, 31),
    ),
    ("0", 31, [own_minimum("500000", valid_to=OCTOBER.start)], "16129", (1, 1)),
    ("350000", 31, [own_minimum("310000", **october(20))], "334516", (1, 31)),
    # A later commitment applies until it ends. Then the earlier one applies again.
    ("0", 31, [own_minimum("31000"), own_minimum("62000", **october(11, 20))], "41000", (1, 31)),
]


@pytest.mark.parametrize(("plans", "last_day", "own", "minimum", "counted"), BY_DAYS)
def test_every_billable_day_counts_with_its_own_commitment(
    plans: str, last_day: int, own: list[Commitment], minimum: str, counted: tuple[int, int] | None
) -> None:
    days = part(plan("0", minimum_commitment=plans), 1, last_day)
    for commitments in (own, own[::-1]):
        month = inputs(parts=(days,), usage_days=usage_days(1, last_day), commitments=tuple(commitments))
        lines = price(month).lines
        assert amounts(lines) == ([minimum] if counted else [])
        assert [(line.service_from.day, line.service_to.day) for line in lines] == (
            [counted] if counted else []
        )


def test_the_days_of_each_commitment_are_explained() -> None:
    parts = (
        part(plan("310", minimum_commitment="3100"), 1, 9, "A"),
        part(plan("310", minimum_commitment="3100"), 10, 12, "B"),
        part(plan("310"), 21, 31, "C"),
    )
    commitments = (own_minimum("6200", **october(12, 24)), own_minimum("0", **october(3, 4)))
    line = calculate(inputs(parts=parts, commitments=commitments)).lines[-1]
    assert line.explanation == (
        "プランの最低利用料金（10/1〜10/2）3,100 円 × 2 日 ÷ 31 日（日割り）",
        "プランの最低利用料金（10/5〜10/11）3,100 円 × 7 日 ÷ 31 日（日割り）",
        "個別契約の最低利用料金（10/12）6,200 円 × 1 日 ÷ 31 日（日割り）",
        "個別契約の最低利用料金（10/21〜10/24）6,200 円 × 4 日 ÷ 31 日（日割り）",
        "最低利用料金 1,900 円 − ここまでの合計 230 円",
    )
    assert (str(line.amount), line.service_from.day, line.service_to.day) == ("1670", 1, 24)


def test_a_commitment_for_the_whole_month_is_explained() -> None:
    line = calculate(inputs(commitments=(own_minimum("25000"),))).lines[-1]
    assert line.explanation == (
        "個別契約の最低利用料金 月額 25,000 円",
        "最低利用料金 25,000 円 − ここまでの合計 10,000 円",
    )


def test_the_line_for_the_minimum_is_taxed_like_the_last_plan() -> None:
    parts = (part(plan(tax="exempt"), 1, 15, "A"), part(plan(tax="reduced"), 16, 31, "B"))
    invoice = price(inputs(parts=parts, commitments=(own_minimum("20000"),)))
    assert [line.tax_category for line in invoice.lines] == [EXEMPT, REDUCED, REDUCED]


# Refusals ----------------------------------------------------------------------------------------------------------------


def test_days_that_are_not_closed_are_named() -> None:
    closed = tuple(day for day in usage_days() if day.usage_date.day not in (3, 17))
    refusal = refusal_of(usage_days=closed)
    assert refusal.code == "USAGE_NOT_CLOSED"
    assert "使用量が締まっていない日があります（2 日: 2026-10-03、2026-10-17）" in str(refusal)


def test_of_many_unclosed_days_ten_are_named_and_the_rest_counted() -> None:
    refusal = refusal_of(usage_days=usage_days(1, 20))
    assert "（11 日: 2026-10-21、" in str(refusal)
    assert "、2026-10-30 ほか 1 日）" in str(refusal)


def test_only_days_with_a_plan_must_be_closed() -> None:
    invoice = price(inputs(parts=(part(plan(), 11, 20),), usage_days=usage_days(11, 20)))
    assert amounts(invoice.lines) == ["3225"]
    assert "（1 日: 2026-10-11）" in str(
        refusal_of(parts=(part(plan(), 11, 20),), usage_days=usage_days(12, 31))
    )


def test_an_incomplete_month_is_priced_where_an_operator_allows_it() -> None:
    days = usage_days(1, 30, active_users=3, api_calls=10)
    invoice = price(inputs(parts=(part(plan("0", USERS, CALLS)),), usage_days=days, allow_incomplete=True))
    assert [line.quantity for line in invoice.lines] == [3, 300]
    assert invoice.lines[1].explanation[0] == "API 呼び出しの合計 300 回（30 日分）"


def test_a_plan_without_a_price_in_the_tenants_currency_is_refused() -> None:
    refusal = refusal_of(currency="USD", exchange_rate=yen("150"))
    assert refusal.code == "NO_PRICE"
    assert "プラン BASIC に通貨 USD の価格がありません（料金表 2026-04-01 版）" in str(refusal)


def test_a_discount_in_another_currency_is_refused() -> None:
    refusal = refusal_of(discounts=(amount_off("10", name="開始記念", currency="USD"),))
    assert refusal.code == "DISCOUNT_CURRENCY"
    assert "値引き「開始記念」の通貨 USD がテナントの通貨 JPY と違います" in str(refusal)


def test_a_commitment_in_another_currency_is_refused() -> None:
    refusal = refusal_of(commitments=(own_minimum("10", currency="USD"),))
    assert refusal.code == "COMMITMENT_CURRENCY"
    assert "最低利用料金の通貨 USD がテナントの通貨 JPY と違います" in str(refusal)


def test_a_foreign_commitment_for_no_billed_day_does_not_matter() -> None:
    parts = (part(plan(), 1, 10),)
    dollars = own_minimum("10", currency="USD", **october(11))
    yen_until_the_10th = own_minimum("31000", **october(1, 10))
    invoice = price(inputs(parts=parts, commitments=(dollars, yen_until_the_10th)))
    assert invoice.subtotal == 10_000


# Tax in yen --------------------------------------------------------------------------------------------------------------


def in_dollars(
    fee: str, rate: str | None = "151.235", tax: str = "standard", **changes: Any
) -> BillingInputs:
    return inputs(
        parts=(part(plan(fee, currency="USD", tax=tax)),),
        currency="USD",
        exchange_rate=yen(rate) if rate else None,
        **changes,
    )


@pytest.mark.parametrize(("rounding", "tax"), [("floor", "15123"), ("half-up", "15124"), ("ceil", "15124")])
def test_a_foreign_invoice_states_its_tax_in_yen_too(rounding: str, tax: str) -> None:
    invoice = price(in_dollars("1000.00", rounding=RoundingMode(rounding)))
    assert sums(invoice) == ["1000.00", "100.00", "1100.00"]
    assert invoice.yen_tax is not None
    assert (invoice.yen_tax.yen_per_unit, invoice.yen_tax.rate_date) == (Decimal("151.235"), OCTOBER.end)
    assert yen_tax(invoice) == ["151235", tax]


@pytest.mark.parametrize(
    ("rounding", "tax", "fee", "rate", "expected"),
    [
        ("floor", "reduced", "0.10", "127", ["12", "1"]),  # 8 % of 12.7, and not of 12
        ("half-up", "standard", "0.04", "115", ["5", "0"]),  # 10 % of 4.6, and not of 5
    ],
)
def test_the_tax_in_yen_is_on_the_exact_amount_in_yen(
    rounding: str, tax: str, fee: str, rate: str, expected: list[str]
) -> None:
    invoice = price(in_dollars(fee, rate, tax, rounding=RoundingMode(rounding)))
    assert yen_tax(invoice) == expected


def test_included_tax_of_a_foreign_price_is_removed_in_yen_too() -> None:
    invoice = price(in_dollars("110.00", "151", tax_included=True))
    assert sums(invoice) == ["110.00", "10.00", "110.00"]
    assert yen_tax(invoice) == ["16610", "1510"]


def test_without_an_exchange_rate_a_foreign_invoice_is_refused() -> None:
    with pytest.raises(
        BillingError, match="USD の円換算レートがありません（2026-10-31 以前、対象月内）"
    ) as refusal:
        price(in_dollars("1000", rate=None))
    assert refusal.value.code == "NO_EXCHANGE_RATE"


@pytest.mark.parametrize(("fee", "tax"), [("1000", "exempt"), ("0", "standard")])
def test_without_tax_nothing_needs_an_exchange_rate(fee: str, tax: str) -> None:
    assert price(in_dollars(fee, rate=None, tax=tax)).yen_tax is None


def test_an_invoice_in_yen_needs_no_tax_in_yen() -> None:
    assert price(inputs(exchange_rate=yen("1"))).yen_tax is None


# A whole price list -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "figures", "subtotal"),
    [
        ("BASIC", {}, 10000),
        # 5 more users, 2.5 GB more and 24,000 calls more in 3 packages
        ("BASIC", {"active_users": 25, "storage_gb": 12, "api_calls": 4000}, 10000 + 2500 + 200 + 600),
        # 60 more users (50 x 450 + 10 x 400) and 310 reports
        ("STANDARD", {"active_users": 90, "reports_generated": 10}, 30000 + 26500 + 3100),
        ("PREMIUM", {"active_users": 250}, 100000 + 150 * 350),
        ("ENTERPRISE", {"active_users": 100}, 350000),
        ("ENTERPRISE", {"active_users": 700}, 300000 + 500 * 300 + 100 * 200 + 30000),
    ],
)
def test_the_demos_plans_are_priced_as_they_read(code: str, figures: dict[str, int], subtotal: int) -> None:
    subscribed = load_price_list().versions[0].plans[code]
    invoice = price(inputs(parts=(part(subscribed, code=code),), usage_days=usage_days(1, 31, **figures)))
    assert invoice.subtotal == subtotal


# The same inputs, the same bytes -----------------------------------------------------------------------------------------


def test_other_inputs_have_another_digest() -> None:
    digests = {
        inputs(**changes).digest()
        for changes in (
            {},
            {"usage_days": usage_days(api_calls=1)},
            {"usage_days": usage_days(revision=2)},
            {"discounts": (percent_off("10"),)},
            {"commitments": (own_minimum("1"),)},
            {"rounding": RoundingMode.CEIL},
            {"parts": (part(plan("10001")),)},
        )
    }
    assert len(digests) == 7
    assert {len(digest) for digest in digests} == {64}


# Credits -----------------------------------------------------------------------------------------------------------------


def test_a_credit_cancels_the_exact_amounts_to_their_last_decimal() -> None:
    original = price(inputs(parts=(part(plan(), 26, 31),)))
    assert str(original.lines[0].exact_amount) == "1935.483870967741935483870967741935"
    assert str(samples.draft_credit(original).lines[0].exact_amount) == "-1935.483870967741935483870967741935"


def test_a_draft_credit_refers_to_its_original_without_number_and_dates() -> None:
    original = samples.ordinary()
    credit = samples.draft_credit(original)
    assert (credit.kind, credit.number, credit.original_number) == (
        InvoiceKind.CREDIT,
        None,
        "INV-2026-10-001",
    )
    assert (credit.issued_on, credit.due_on) == (None, None)
    assert (credit.period_start, credit.recipient) == (original.period_start, original.recipient)
    assert [line.explanation for line in credit.lines] == [
        (f"INV-2026-10-001 の {position} 行目の取消",) for position in (1, 2, 3, 4)
    ]


def test_crediting_and_finalising_leave_the_original_as_it_was() -> None:
    original = samples.us_dollars()
    before = original.model_dump_json()
    credit = samples.draft_credit(original).finalized(
        "CRN-2026-000001", date(2026, 11, 5), date(2026, 11, 30)
    )
    assert (credit.number, credit.issued_on, credit.due_on) == (
        "CRN-2026-000001",
        date(2026, 11, 5),
        date(2026, 11, 30),
    )
    assert original.model_dump_json() == before
