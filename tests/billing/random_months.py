"""Hypothesis strategies: a tenant's October with any plans, usage, discounts, minimums and one-off lines."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, Discount, ExtraCharge, MeteredDay
from include.skillreport.billing.money import RoundingMode, minor_unit
from include.skillreport.billing.pricing.calculation import price
from include.skillreport.billing.pricing.commitments import Commitment
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from tests.billing.billing_inputs import (
    OCTOBER,
    amount_off,
    charge,
    fee_on_payments,
    inputs,
    one_off,
    own_minimum,
    part,
    payments,
    percent_off,
    plan,
    units_off,
    usage_days,
    yen,
)

figures = st.integers(0, 5000)
categories = st.sampled_from([None, *TaxCategory])
decimals = st.decimals(0, 500, places=3).map(str)


@st.composite
def charges(draw: st.DrawFn, unit: Decimal) -> dict[str, Any]:
    """A charge of any model, with any of the options."""
    options: dict[str, Any] = {"tax": draw(categories)}
    if draw(st.booleans()):
        options["minimum"] = str(draw(st.integers(1, 10**6)) * unit)
    if draw(st.integers(0, 5)) == 0:
        return fee_on_payments(
            rate=draw(st.sampled_from([0, "2.5", 100])),
            fixed_amount=draw(decimals),
            free_amount=str(draw(figures) * unit),
            free_events=draw(st.integers(0, 100)),
            prorate=draw(st.sampled_from([None, "included", "none"])),
            **options,
        )
    metric = draw(st.sampled_from(["active_users", "storage_gb", "api_calls", "reports_generated"]))
    tiers = [{"up_to": 100, "unit_amount": draw(decimals)}, {"up_to": None, "unit_amount": draw(decimals)}]
    fields: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"model": "standard", "unit_amount": draw(decimals)},
                {"model": "graduated", "tiers": tiers},
                {"model": "volume", "tiers": tiers},
                {"model": "package", "package_size": "7", "package_amount": draw(decimals)},
                {"model": "percentage", "of": "all", "rate": "12.5", "fixed_amount": draw(decimals)},
            ]
        )
    )
    prorate = draw(st.sampled_from([None, "amount", "included", "none"]))
    return charge(metric=metric, prorate=prorate, **fields, **options)


@st.composite
def months(draw: st.DrawFn) -> BillingInputs:
    """A month with one or two plans, any usage, discounts and minimum, in any currency, rounding and tax display."""
    currency = draw(st.sampled_from(["JPY", "USD", "KWD"]))
    unit = minor_unit(currency)
    money = st.integers(0, 10**6).map(lambda units: str(units * unit))
    subscribed = [
        plan(
            draw(money),
            *draw(st.lists(charges(unit), max_size=3)),
            currency=currency,
            tax=draw(st.sampled_from(TaxCategory)),
            minimum_commitment=draw(money),
            included={"reports_generated": str(draw(figures)), "api_calls": str(draw(figures))},
        )
        for _ in range(draw(st.integers(1, 2)))
    ]
    change_on = draw(st.integers(2, 31)) if len(subscribed) == 2 else 32
    used: list[int] = draw(st.lists(figures, min_size=4, max_size=4))
    unrecorded = draw(st.sampled_from([range(0), range(0), range(1, 11), range(1, 32)]))
    days = [
        usage_days(
            day,
            day,
            active_users=used[day % 4],
            storage_gb=used[(day + 1) % 4],
            api_calls=None if day in unrecorded else used[(day + 2) % 4],
            reports_generated=used[(day + 3) % 4],
        )[0]
        for day in range(1, 32)
    ]
    return inputs(
        currency=currency,
        language=draw(st.sampled_from(["ja", "en"])),
        rounding=draw(st.sampled_from(RoundingMode)),
        tax_included=draw(st.booleans()),
        tax_category=draw(st.one_of(st.none(), categories)),
        parts=(
            part(subscribed[0], 1, change_on - 1, "A"),
            *(part(second, change_on, 31, "B") for second in subscribed[1:]),
        ),
        usage_days=tuple(days),
        metered=draw(metered(currency)),
        discounts=tuple(draw(st.lists(discounts(currency, unit), max_size=3))),
        commitments=tuple(draw(st.lists(own_minimums(currency), max_size=3))),
        extra_charges=tuple(draw(st.lists(one_offs(currency), max_size=2))),
        exchange_rate=yen(draw(st.decimals("0.01", 500, places=4).map(str))),
    )


@st.composite
def metered(draw: st.DrawFn, currency: str) -> tuple[MeteredDay, ...]:
    """Payments of up to five days in a row."""
    amounts = draw(st.lists(decimals, max_size=5))
    first = draw(st.integers(1, 27))
    return payments(*amounts, first=first, events=draw(st.integers(0, 50)), currency=currency)


def one_offs(currency: str) -> st.SearchStrategy[ExtraCharge]:
    """Charges, and deductions that are rarely more than the rest of the invoice."""
    return st.builds(
        lambda price, quantity, category: one_off(
            str(price), quantity=quantity, currency=currency, tax_category=category
        ),
        st.decimals(-1000, 10**6, places=3).filter(bool),
        st.integers(1, 20),
        st.sampled_from(TaxCategory),
    )


def discounts(currency: str, unit: Decimal) -> st.SearchStrategy[Discount]:
    """Up to all of it in percent, and amounts in whole minor units."""
    return st.one_of(
        st.decimals("0.01", 100, places=2).map(lambda percent: percent_off(str(percent))),
        st.integers(1, 10**6).map(lambda units: amount_off(str(units * unit), currency=currency)),
        st.integers(1, 10**5).map(lambda quantity: units_off(str(quantity))),
    )


def own_minimums(currency: str) -> st.SearchStrategy[Commitment]:
    """Valid from a day of October on, or from before it, until another day or for ever."""
    starts = st.sampled_from([date(2026, 1, 1), *OCTOBER.dates()])
    return st.builds(
        lambda amount, first, days: own_minimum(
            amount,
            currency=currency,
            valid_from=first,
            valid_to=None if days is None else first + timedelta(days=days),
        ),
        decimals,
        starts,
        st.one_of(st.none(), st.integers(0, 40)),
    )


def priced(month: BillingInputs) -> Invoice:
    """The invoice of a month whose deductions are not more than the rest."""
    try:
        return price(month)
    except BillingError as refusal:
        assume(refusal.code != "NEGATIVE_TOTAL")
        raise
