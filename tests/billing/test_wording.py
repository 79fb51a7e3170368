"""The words of an invoice in each language, and that operators read Japanese whatever the language is."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.documents.notation import NOTATIONS
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.pricing.calculation import calculate, price
from include.skillreport.billing.pricing.explanation import explain
from include.skillreport.billing.pricing.usage import Aggregation, Metric
from include.skillreport.billing.pricing.wording import English, Japanese, Words, words_in
from tests.billing.billing_inputs import (
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
    usage_days,
)

JAPANESE = re.compile("[぀-ヿ㐀-鿿、。「」（）]")
TIERS = [{"up_to": 10, "unit_amount": 2}, {"up_to": None, "unit_amount": 1}]


def english(*charges: dict[str, Any], **changes: Any) -> BillingInputs:
    """1 to 10 October with an English plan, and whatever the test adds."""
    subscribed = plan("31000", *charges, name_en="Basic plan", included={"api_calls": 310})
    defaults = {"parts": (part(subscribed, 1, 10),), "usage_days": usage_days(1, 10, api_calls=20)}
    return inputs(language="en", **(defaults | changes))


@pytest.mark.parametrize("words", [Japanese, English])
def test_every_metric_and_aggregation_has_words(words: type[Words]) -> None:
    assert set(words.metrics) == set(words.units) == set(Metric)
    assert set(words.aggregations) == set(Aggregation)


def test_an_english_usage_line_says_quantity_unit_and_calculation() -> None:
    calls = charge("standard", name="API 呼び出し", name_en="API calls", unit_amount=1)
    base, usage = price(english(calls)).lines
    assert (base.description, base.explanation) == (
        "Basic plan: base fee",
        ("31,000 JPY × 10 ÷ 31 days (prorated)",),
    )
    assert (usage.description, usage.unit, str(usage.amount)) == ("API calls", "calls", "100")
    assert usage.explanation == (
        "Total of API calls: 200 (10 days)",
        "Less 100 calls free: 100 calls",
        "Price per unit",
    )


def test_a_charge_without_an_english_name_keeps_its_name() -> None:
    month = english(parts=(part(plan("10000")),), usage_days=usage_days())
    (line,) = price(month).lines
    assert (line.description, line.explanation) == ("ベーシックプラン: base fee", ("10,000 JPY per month",))


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        (
            {"model": "graduated", "tiers": TIERS},
            ("Graduated price (each tier's part at the tier's price)", "10 calls × 2 JPY + 90 calls × 1 JPY"),
        ),
        (
            {"model": "volume", "tiers": TIERS},
            ("Volume price (the whole quantity at the price of its tier)", "100 calls × 1 JPY"),
        ),
        (
            {"model": "package", "package_size": 7, "package_amount": 1},
            ("Price per package (a package used in part counts in full)", "15 packages × 1 JPY"),
        ),
        ({"model": "percentage", "of": "base_fee", "rate": 5}, ("Percentage 10,000 JPY × 5%",)),
        (
            {"model": "standard", "unit_amount": 1, "prorate": "amount", "minimum": 3100},
            (
                "Price per unit",
                "Plus the difference to the minimum of 3,100 JPY × 10 ÷ 31 days (prorated): 1,000 JPY (calculated: 0 JPY)",
            ),
        ),
        (
            {"model": "standard", "unit_amount": 31, "prorate": "none", "minimum": 4000},
            (
                "Price per unit",
                "Plus the difference to the minimum of 4,000 JPY: 4,000 JPY (calculated: 0 JPY)",
            ),
        ),
    ],
)
def test_each_model_and_minimum_is_explained_in_english(
    fields: dict[str, Any], steps: tuple[str, ...]
) -> None:
    _, line, _ = calculate(english(charge(**fields))).lines
    assert line.explanation[-len(steps) :] == steps


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"model": "package", "package_size": 7, "package_amount": 150}, "29 セット × 150 円"),
        (
            {
                "model": "graduated",
                "tiers": [
                    {"up_to": 50, "unit_amount": 450},
                    {"up_to": None, "unit_amount": 400, "flat_amount": 900},
                ],
            },
            "50 回 × 450 円、150 回 × 400 円、定額 900 円",
        ),
        ({"model": "percentage", "of": "base_fee", "rate": 5, "fixed_amount": "0.5"}, "200 回 × 0.5 円"),
    ],
)
def test_each_part_of_a_quantity_is_shown_with_its_price(fields: dict[str, Any], step: str) -> None:
    japanese = english(charge(**fields)).model_copy(update={"language": "ja"})
    priced = japanese.parts[0].model_copy(
        update={"plan": japanese.parts[0].plan.model_copy(update={"included": {}})}
    )
    _, line, _ = calculate(japanese.model_copy(update={"parts": (priced,)})).lines
    assert line.explanation[-1] == step


def test_a_document_has_one_sign_and_one_day_is_no_range() -> None:
    words, notation = words_in("ja", "JPY", 31), NOTATIONS["ja"]
    day = date(2026, 10, 1)
    assert words.one_off(Decimal(2), "式", Decimal(-500)) == f"2 式 × {notation.money(Decimal(-500), 'JPY')}"
    assert (notation.span(day, day), notation.short_span(day, day)) == ("2026年10月1日", "2026/10/01")


def test_levels_and_days_that_were_corrected_are_explained_in_english() -> None:
    storage = charge("standard", "storage_gb", unit_amount=10)
    days = (
        *usage_days(1, 8, storage_gb=3),
        *usage_days(9, 9, storage_gb=3, revision=2),
        *usage_days(10, 10, storage_gb=None),
    )
    month = english(storage, usage_days=days)
    _, line, _ = calculate(month).lines
    assert line.explanation == (
        "Average of storage: 3 GB (9 days)",
        "No record on 1 day",
        "Figures corrected on 1 day",
        "Price per unit",
        "30 JPY × 10 ÷ 31 days (prorated)",
    )


def test_a_metered_percentage_is_explained_in_english() -> None:
    fee = fee_on_payments(fixed_amount=3, free_amount=200, free_events=2, prorate="none", name_en="Payments")
    month = english(fee, metered=payments("500", "500", events=2))
    line = price(month).lines[1]
    assert (line.description, line.explanation) == (
        "Payments",
        (
            "Total of payments: 1,000 JPY, 4 events (2 days)",
            "Less 200 JPY and 2 events free: 800 JPY, 2 events",
            "Percentage 800 JPY × 2% + 2 events × 3 JPY",
        ),
    )


def test_discounts_minimum_and_one_off_lines_are_explained_in_english() -> None:
    month = english(
        discounts=(percent_off("10", name="Early bird"), amount_off("500", name="Thanks")),
        commitments=(own_minimum("31000", valid_from=date(2026, 10, 6)),),
        extra_charges=(one_off("100", description="Set-up", quantity=2, unit="hours"),),
    )
    _, percent, fixed, missing, extra = calculate(month).lines
    assert (percent.description, percent.explanation) == ("Early bird (10%)", ("10,000 JPY × 10%",))
    assert (fixed.description, fixed.explanation) == (
        "Thanks",
        ("Discount of 500 JPY × 10 ÷ 31 days (prorated), at most the amount that is left",),
    )
    assert (missing.description, missing.explanation) == (
        "Difference to the minimum commitment",
        (
            "Minimum commitment of the agreement (2026-10-06 to 2026-10-10): 31,000 JPY × 5 ÷ 31 days (prorated)",
            "Minimum commitment 5,000 JPY − sum so far 8,839 JPY",
        ),
    )
    assert (extra.description, extra.explanation) == ("Set-up", ("2 hours × 100 JPY",))


def test_the_plans_minimum_of_a_whole_month_is_explained_in_english() -> None:
    subscribed = plan("0", minimum_commitment="5000")
    line = calculate(english(parts=(part(subscribed),), usage_days=usage_days())).lines[-1]
    assert line.explanation[0] == "Minimum commitment of the plan: 5,000 JPY per month"


@pytest.mark.parametrize(
    ("fields", "recorded", "remark"),
    [
        (
            {"model": "standard", "unit_amount": 1},
            0,
            "There is no record of API calls: nothing is charged for 'Calls' (2026-10-01 to 2026-10-10)",
        ),
        (
            {"model": "standard", "unit_amount": 1, "minimum": 5},
            0,
            "There is no record of API calls: only the minimum is charged for 'Calls' (2026-10-01 to 2026-10-10)",
        ),
        (
            {"model": "standard", "unit_amount": 1},
            7,
            "There is no record of API calls on 3 days: only the days with a record count for 'Calls' (2026-10-01 to 2026-10-10)",
        ),
        (
            {"model": "percentage", "of": "base_fee", "rate": 5, "fixed_amount": 1},
            0,
            "There is no record of API calls: nothing is charged for the events of 'Calls' (2026-10-01 to 2026-10-10)",
        ),
    ],
)
def test_missing_records_are_remarked_on_in_english(
    fields: dict[str, Any], recorded: int, remark: str
) -> None:
    days = (*usage_days(1, recorded), *usage_days(recorded + 1, 10, api_calls=None))
    calls = charge(**fields, name="呼び出し", name_en="Calls")
    assert price(english(calls, usage_days=days)).remarks == (remark,)


def test_an_english_invoice_has_japanese_words_only_in_its_parties() -> None:
    charges = [
        charge("standard", name_en="Calls", name="c", unit_amount=1, minimum=10**6),
        charge("percentage", name="p", of="all", rate=5, fixed_amount=1),
        fee_on_payments(name_en="Fee", fixed_amount=1, free_events=1),
    ]
    month = english(
        *charges,
        metered=payments("10"),
        discounts=(percent_off("1", name="d"), amount_off("1", name="e")),
        commitments=(own_minimum("9000000"),),
        extra_charges=(one_off("1", description="x"),),
    )
    content = price(month).model_dump(mode="json", exclude={"issuer", "recipient"})
    assert content["language"] == "en"
    assert JAPANESE.findall(json.dumps(content, ensure_ascii=False)) == []


def test_operators_read_the_explanation_of_an_english_invoice_in_japanese() -> None:
    calls = charge("standard", name="呼び出し", name_en="Calls", unit_amount=1)
    month = english(calls, usage_days=usage_days(1, 10, api_calls=None))
    rows = list(explain(price(month), month))
    assert "  1. ベーシックプラン 基本料金: 10,000（端数処理前 10,000）" in rows
    assert "注記: API 呼び出しの記録がないため、「呼び出し」（10/1〜10/10）は請求していません" in rows


def test_an_older_invoice_in_japanese_is_stored_without_its_language() -> None:
    assert "language" not in price(inputs()).model_dump()
    stored = inputs(parts=(part(plan("1", charge("standard", unit_amount=1))),)).frozen()
    (entry,) = stored["parts"][0]["plan"]["prices"]["JPY"]["charges"]
    assert {"name_en", "minimum", "prorate"}.isdisjoint(entry)
    assert "name_en" not in stored["parts"][0]["plan"]
