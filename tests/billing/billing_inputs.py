"""The inputs of a calculation: a tenant's October 2026 with one plan and all days closed, unless the test says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.billing.inputs import (
    BillingInputs,
    Discount,
    DiscountKind,
    ExchangeRate,
    ExtraCharge,
    MeteredDay,
    PricedPart,
)
from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.periods import Period, PlanPart
from include.skillreport.billing.pricing.commitments import Commitment
from include.skillreport.billing.pricing.price_list import Plan
from include.skillreport.billing.pricing.usage import BYTES_PER_GB, UsageDay
from tests.worlds.sample_invoices import ISSUER, RECIPIENT

OCTOBER = Period(start=date(2026, 10, 1), end=date(2026, 10, 31))

_AGGREGATIONS = {"active_users": "max", "storage_gb": "average"}


def charge(model: str, metric: str = "api_calls", **fields: Any) -> dict[str, Any]:
    """A charge on a metric as the price list has it."""
    defaults = {"name": metric, "aggregation": _AGGREGATIONS.get(metric, "sum")}
    return defaults | {"model": model, "metric": metric} | fields


def fee_on_payments(**fields: Any) -> dict[str, Any]:
    """2 % of the payments, as a charge of the price list, unless the test says otherwise."""
    defaults = {"name": "決済手数料", "model": "metered_percentage", "meter": "payments", "rate": 2}
    return defaults | fields


def payments(*amounts: str, first: int = 1, **changes: Any) -> tuple[MeteredDay, ...]:
    """Yen amounts of consecutive days of October, each of one payment unless the test says otherwise."""
    defaults = {"meter": "payments", "events": 1, "currency": "JPY"}
    return tuple(
        MeteredDay.model_validate(defaults | {"usage_date": date(2026, 10, day), "amount": amount} | changes)
        for day, amount in enumerate(amounts, first)
    )


def one_off(unit_amount: str | int, **changes: Any) -> ExtraCharge:
    """A one-off line of 20 October in yen at the standard rate."""
    defaults = {
        "charged_on": date(2026, 10, 20),
        "description": "初期設定",
        "quantity": 1,
        "unit": None,
        "currency": "JPY",
        "tax_category": "standard",
    }
    return ExtraCharge.model_validate(defaults | {"unit_amount": unit_amount} | changes)


def plan(base_fee: str = "10000", *charges: dict[str, Any], currency: str = "JPY", **fields: Any) -> Plan:
    """A plan with prices in one currency."""
    minimum = fields.pop("minimum_commitment", "0")
    prices = {currency: {"base_fee": base_fee, "minimum_commitment": minimum, "charges": charges}}
    return Plan.model_validate({"name": "ベーシックプラン", "prices": prices} | fields)


def part(plan: Plan, first: int = 1, last: int = 31, code: str = "BASIC") -> PricedPart:
    """The plan from one day of October to another."""
    days = Period(start=date(2026, 10, first), end=date(2026, 10, last))
    return PricedPart(plan_part=PlanPart(plan=code, part=days), plan=plan)


def usage_days(
    first: int = 1, last: int = 31, *, storage_gb: int | None = 0, **figures: int | None
) -> tuple[UsageDay, ...]:
    """Closed days of October that are all alike; a figure of None has no record."""
    row = {"active_users": 0, "api_calls": 0, "reports_generated": 0, "revision": 1} | figures
    row["storage_bytes"] = None if storage_gb is None else storage_gb * BYTES_PER_GB
    return tuple(
        UsageDay.model_validate({"usage_date": date(2026, 10, day), **row}) for day in range(first, last + 1)
    )


def inputs(**changes: Any) -> BillingInputs:
    """A month's inputs: yen without tax, rounded down, ¥10,000 and no usage."""
    defaults: dict[str, Any] = {
        "tenant_id": "7f0c2b0e-0000-4000-8000-000000000001",
        "tenant_code": "aoba",
        "period": OCTOBER,
        "currency": "JPY",
        "rounding": RoundingMode.FLOOR,
        "tax_included": False,
        "price_list_version": date(2026, 4, 1),
        "issuer": ISSUER,
        "recipient": RECIPIENT,
        "parts": (part(plan()),),
        "usage_days": usage_days(),
        "allow_incomplete": False,
        "discounts": (),
        "commitments": (),
        "exchange_rate": None,
    }
    return BillingInputs(**(defaults | changes))


def percent_off(percent: str, **changes: Any) -> Discount:
    """A discount in percent, valid for ever."""
    return _discount(DiscountKind.PERCENTAGE, percent, changes)


def amount_off(amount: str, **changes: Any) -> Discount:
    """A discount in yen, valid for ever."""
    return _discount(DiscountKind.FIXED, amount, {"currency": "JPY"} | changes)


def with_fixed_discounts(discounts: Sequence[str], **fees: str) -> BillingInputs:
    """Base fees of plans by their tax, and amounts off."""
    return inputs(
        parts=tuple(part(plan(fee, tax=tax), code=tax) for tax, fee in fees.items()),
        discounts=tuple(amount_off(amount, name=str(number)) for number, amount in enumerate(discounts)),
    )


def units_off(quantity: str, **changes: Any) -> Discount:
    """Free API calls, valid for ever."""
    return _discount(DiscountKind.FREE_QUANTITY, quantity, {"metric": "api_calls"} | changes)


def own_minimum(amount: str, **changes: Any) -> Commitment:
    """A commitment of the tenant's own in yen, valid for ever."""
    defaults = {"amount": amount, "currency": "JPY", "valid_from": date(2026, 1, 1)}
    return Commitment.model_validate(defaults | changes)


def yen(rate: str) -> ExchangeRate:
    """The value of a unit of the currency at the end of October."""
    return ExchangeRate(yen_per_unit=Decimal(rate), rate_date=OCTOBER.end)


def _discount(kind: DiscountKind, value: str, changes: dict[str, Any]) -> Discount:
    defaults = {"name": "値引き", "kind": kind, "value": value, "valid_from": date(2026, 1, 1)}
    return Discount.model_validate(defaults | changes)
