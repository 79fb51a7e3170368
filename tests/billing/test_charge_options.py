"""The options of a charge: proration, and the minimum of its line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.documents.invoice import InvoiceLine, LineKind
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.periods import Period, PlanPart
from include.skillreport.billing.pricing.calculation import calculate, price
from tests.billing.billing_inputs import charge, inputs, part, plan, units_off, usage_days

FEBRUARY = Period(start=date(2027, 2, 1), end=date(2027, 2, 28))
LAST_10_DAYS = (22, 31)


def usage_lines(month: BillingInputs) -> list[InvoiceLine]:
    return [line for line in calculate(month).lines if line.kind is LineKind.USAGE]


def usage_line(*charges: dict[str, Any], **changes: Any) -> InvoiceLine:
    """The only charge's line for 22 to 31 October (10 of 31 days), or for the changes."""
    defaults = {"parts": (part(plan("0", *charges), *LAST_10_DAYS),)}
    (line,) = usage_lines(inputs(**(defaults | changes)))
    return line


# Proration ---------------------------------------------------------------------------------------------------------------


def test_nothing_but_the_base_fee_is_prorated_where_all_charges_say_so() -> None:
    tiers = [
        {"up_to": 50, "unit_amount": 0},
        {"up_to": 100, "unit_amount": 400},
        {"up_to": None, "unit_amount": 300},
    ]
    users = charge("graduated", "active_users", tiers=tiers, prorate="none")
    storage = charge("package", "storage_gb", package_size=10, package_amount=500, prorate="none")
    days = tuple(
        day.model_copy(
            update={
                "usage_date": day.usage_date.replace(year=2027, month=2),
                "storage_bytes": int(Decimal("121.5") * 2**30),
            }
        )
        for day in usage_days(10, 28, active_users=103)
    )
    priced = part(plan("30000", users, storage, included={"storage_gb": 100}))
    from_the_10th = priced.model_copy(
        update={"plan_part": PlanPart(plan="BASIC", part=Period(start=date(2027, 2, 10), end=FEBRUARY.end))}
    )
    invoice = price(inputs(period=FEBRUARY, parts=(from_the_10th,), usage_days=days))
    assert [str(line.amount) for line in invoice.lines] == ["20357", "20900", "1500"]
    assert invoice.lines[1].explanation == (
        "利用者数の最大 103 人（19 日分）",
        "段階料金（各段階の数量に各段階の単価）",
        "50 人 × 0 円、50 人 × 400 円、3 人 × 300 円",
    )


@pytest.mark.parametrize(
    ("prorate", "free", "amount"),
    [
        # 20 users, 10 of them free, at 310 a month, in 10 of 31 days
        (None, 10, "1000"),
        ("amount", 10, "1000"),
        ("included", "3.23", "5198"),
        ("none", 10, "3100"),
    ],
)
def test_a_level_prorates_its_amount_unless_the_charge_says_otherwise(
    prorate: str | None, free: str | int, amount: str
) -> None:
    users = charge("standard", "active_users", unit_amount=310, included=10)
    line = usage_line(
        users | ({"prorate": prorate} if prorate else {}), usage_days=usage_days(active_users=20)
    )
    assert line.quantity == 20 - Decimal(free)
    assert str(line.amount) == amount


@pytest.mark.parametrize(
    ("prorate", "free", "amount"),
    [
        # 1,000 calls in the 10 days, 310 of them free a month, at 3.1
        (None, 100, "2790"),
        ("included", 100, "2790"),
        ("amount", 310, "690"),
        ("none", 310, "2139"),
    ],
)
def test_a_sum_prorates_what_is_included_unless_the_charge_says_otherwise(
    prorate: str | None, free: int, amount: str
) -> None:
    calls = charge("standard", unit_amount="3.1") | ({"prorate": prorate} if prorate else {})
    changes = {
        "parts": (part(plan("0", calls, included={"api_calls": 300}), *LAST_10_DAYS),),
        "discounts": (units_off("10"),),
    }
    line = usage_line(usage_days=usage_days(api_calls=100), **changes)
    assert line.quantity == 1000 - free
    assert str(line.amount) == amount


@pytest.mark.parametrize("prorate", ["amount", "included", "none"])
def test_a_whole_month_is_the_same_whatever_is_prorated(prorate: str) -> None:
    calls = charge("standard", unit_amount=1, included=100, prorate=prorate)
    line = usage_line(parts=(part(plan("0", calls)),), usage_days=usage_days(api_calls=10))
    assert [str(line.quantity), str(line.amount)] == ["210", "210"]


def test_events_of_a_percentage_of_lines_are_prorated_as_stated() -> None:
    support = charge("percentage", of="base_fee", rate=10, fixed_amount=31, prorate="amount")
    month = inputs(
        parts=(part(plan("3100", support), *LAST_10_DAYS),), usage_days=usage_days(22, 31, api_calls=1)
    )
    (line,) = usage_lines(month)
    assert str(line.amount) == "200"  # 10 % of 1,000, and 10 x 31 x 10/31
    assert line.explanation[-1] == "310 円 × 10 日 ÷ 31 日（日割り）"


# The least that a line comes to ------------------------------------------------------------------------------------------

MODELS: list[dict[str, Any]] = [
    {"model": "standard", "unit_amount": 1},
    {"model": "package", "package_size": 10, "package_amount": 10},
    {"model": "graduated", "tiers": [{"up_to": None, "unit_amount": 1}]},
    {"model": "volume", "tiers": [{"up_to": None, "unit_amount": 1}]},
    {"model": "percentage", "of": "base_fee", "rate": 0, "fixed_amount": 1},
]


@pytest.mark.parametrize("fields", MODELS, ids=lambda fields: str(fields["model"]))
@pytest.mark.parametrize(("minimum", "amount"), [(309, "310"), (310, "310"), (311, "311")])
def test_every_model_charges_at_least_its_minimum(fields: dict[str, Any], minimum: int, amount: str) -> None:
    line = usage_line(
        parts=(part(plan("0", charge(minimum=minimum, **fields))),), usage_days=usage_days(api_calls=10)
    )
    assert str(line.amount) == amount
    shown = "最低額 311 円との差額 1 円を加算（計算額 310 円）"
    assert (line.explanation[-1] == shown) == (minimum == 311)


@pytest.mark.parametrize(
    ("prorate", "amount", "shown"),
    [
        (
            None,
            "1000",
            "最低額 3,100 円 × 10 日 ÷ 31 日（日割り）との差額 839 円を加算（計算額 161 円）",
        ),
        ("none", "3100", "最低額 3,100 円との差額 2,600 円を加算（計算額 500 円）"),
        ("included", "3100", "最低額 3,100 円との差額 2,600 円を加算（計算額 500 円）"),
    ],
)
def test_a_minimum_is_prorated_with_the_amount_and_whole_otherwise(
    prorate: str | None, amount: str, shown: str
) -> None:
    users = charge("standard", "active_users", unit_amount=50, minimum=3100)
    line = usage_line(
        users | ({"prorate": prorate} if prorate else {}), usage_days=usage_days(active_users=10)
    )
    assert (str(line.amount), line.explanation[-1]) == (amount, shown)


def test_the_difference_in_the_text_is_between_rounded_amounts() -> None:
    users = charge("standard", "active_users", unit_amount=1, minimum=100)
    line = usage_line(users, usage_days=usage_days(active_users=50))
    assert str(line.exact_amount) == "32.258064516129032258064516129032"
    assert line.explanation[-1].endswith("との差額 16 円を加算（計算額 16 円）")


def test_without_records_the_minimum_alone_is_charged_with_a_remark() -> None:
    calls = charge("standard", name="API", unit_amount=1, minimum=500)
    month = inputs(parts=(part(plan("0", calls)),), usage_days=usage_days(api_calls=None))
    invoice = price(month)
    (line,) = invoice.lines
    assert (str(line.amount), line.quantity, line.unit_amount) == ("500", None, None)
    assert line.explanation == ("最低額 500 円との差額 500 円を加算（計算額 0 円）",)
    assert invoice.remarks == ("API 呼び出しの記録がないため、「API」は最低額だけを請求しています",)


def test_a_percentage_of_lines_includes_what_a_minimum_added() -> None:
    calls = charge("standard", unit_amount=1, minimum=1000)
    support = charge("percentage", name="サポート", of="usage", rate=10)
    month = inputs(parts=(part(plan("0", support, calls)),), usage_days=usage_days(api_calls=10))
    assert [str(line.amount) for line in usage_lines(month)] == ["1000", "100"]
