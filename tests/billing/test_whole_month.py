"""A month that was billed in part, and the entire month that it stands for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.approval import base_fees, first_invoice_reason, recurring_subtotal
from include.skillreport.billing.pricing.calculation import price, price_signed
from include.skillreport.billing.pricing.whole_month import whole_month
from tests.billing.billing_inputs import (
    amount_off,
    charge,
    fee_on_payments,
    inputs,
    one_off,
    own_minimum,
    part,
    payments,
    plan,
    usage_days,
)

CHARGES = {
    "level": charge("standard", "active_users", unit_amount=500, included=3),
    "level in full": charge("standard", "active_users", unit_amount=500, prorate="none"),
    "average": charge("standard", "storage_gb", unit_amount=100, included=2),
    "sum": charge("standard", "api_calls", unit_amount=1, included=3100),
    "sum with a free quantity in full": charge(
        "standard", "api_calls", unit_amount=1, included=3100, prorate="none"
    ),
    "minimum": charge("standard", "api_calls", unit_amount=1, minimum=40000),
    "payments": fee_on_payments(),
}


def tenant(charges: tuple[dict[str, Any], ...], first: int, last: int) -> Any:
    """From one day of October to another, with the same usage each day."""
    days = last - first + 1
    return inputs(
        parts=(part(plan("3000", *charges), first, last),),
        usage_days=usage_days(first, last, storage_gb=5, active_users=10, api_calls=1000),
        metered=payments(*["1000"] * days, first=first),
        discounts=(amount_off("310", valid_from=date(2026, 10, first)),),
        commitments=(own_minimum("5000", valid_to=date(2026, 10, last)),),
    )


@pytest.mark.parametrize(("first", "last"), [(21, 31), (1, 9), (14, 14), (1, 31)])
@pytest.mark.parametrize("charges", [(), *((each,) for each in CHARGES.values()), tuple(CHARGES.values())])
def test_days_like_the_billed_ones_give_the_price_of_an_entire_month(
    charges: tuple[dict[str, Any], ...], first: int, last: int
) -> None:
    whole = price(whole_month(tenant(charges, first, last)))
    assert whole.lines == price(tenant(charges, 1, 31)).lines


def test_unequal_days_repeat_in_turn() -> None:
    known = usage_days(30, 30, api_calls=100) + usage_days(31, 31, api_calls=200)
    given = inputs(parts=(part(plan("3000", CHARGES["sum"]), 30, 31),), usage_days=known)
    calls = [day.api_calls for day in whole_month(given).usage_days]
    assert calls == [*[100, 200] * 14, 100, 100, 200]


def test_a_change_of_plan_stays_where_it_was() -> None:
    given = inputs(
        parts=(part(plan("3000"), 11, 20), part(plan("9000"), 21, 25, code="PRO")),
        usage_days=usage_days(11, 25),
    )
    parts = [
        (each.plan_part.part.start.day, each.plan_part.part.end.day) for each in whole_month(given).parts
    ]
    assert parts == [(1, 20), (21, 31)]


@pytest.mark.parametrize(
    ("charges", "is_held"),
    [
        ((), False),
        ((CHARGES["level in full"],), True),
        ((charge("standard", "active_users", unit_amount=140),), False),
    ],
)
def test_a_start_in_mid_month_alone_holds_nothing(charges: tuple[dict[str, Any], ...], is_held: bool) -> None:
    given = inputs(
        parts=(part(plan("3000", *charges), 21, 31),),
        usage_days=usage_days(21, 31, active_users=10),
        extra_charges=(one_off("-50000"),),
    )
    whole = price_signed(whole_month(given))
    reason = first_invoice_reason(
        *(recurring_subtotal(whole), base_fees(whole), "JPY", Decimal(50)), is_part=True
    )
    assert (reason is not None) == is_held
    if reason:
        assert reason == (
            "最初の請求書で、1 か月分に換算した、個別明細を除く小計 8,000 JPY が、基本料金 3,000 JPY と 50 % を超えて違います"
        )
