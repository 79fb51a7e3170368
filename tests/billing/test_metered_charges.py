"""A percentage of an amount that the installation meters, with a fixed amount per event."""

from __future__ import annotations

from typing import Any

import pytest

from include.skillreport.billing.documents.invoice import Invoice, InvoiceLine, LineKind
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import MeteredDay
from include.skillreport.billing.pricing.calculation import calculate, price
from include.skillreport.billing.pricing.explanation import explain
from tests.billing.billing_inputs import fee_on_payments, inputs, part, payments, plan, usage_days, yen

FREE = {"fixed_amount": 3, "free_amount": 200, "free_events": 2}


def invoice_of(metered: tuple[MeteredDay, ...], *, first: int = 1, last: int = 31, **fields: Any) -> Invoice:
    """The fee on payments alone."""
    priced = part(plan("0", fee_on_payments(**fields)), first, last)
    return price(inputs(parts=(priced,), metered=metered))


def line_of(metered: tuple[MeteredDay, ...], **options: Any) -> InvoiceLine:
    (line,) = invoice_of(metered, **options).lines
    return line


def test_a_metered_percentage_charges_amount_and_events_that_are_not_free() -> None:
    line = line_of(payments("600", "400", events=2) + payments("0", first=3), **FREE)
    assert (line.kind, line.description, str(line.amount)) == (LineKind.USAGE, "決済手数料", "25")
    assert (line.metric, line.quantity, line.unit_amount) == (None, None, None)
    assert line.explanation == (
        "計測額（payments）の合計 1,000 円、5 件（3 日分）",
        "無料分 200 円、2 件 を差し引き 800 円、3 件",
        "割合料金 800 円 × 2% + 3 件 × 3 円",
    )


def test_without_free_parts_and_fixed_amount_the_line_is_the_percentage() -> None:
    line = line_of(payments("12345"))
    assert (str(line.exact_amount), str(line.amount)) == ("246.9", "246")
    assert line.explanation == (
        "計測額（payments）の合計 12,345 円、1 件（1 日分）",
        "割合料金 12,345 円 × 2%",
    )


def test_free_amount_and_free_events_are_used_up_separately() -> None:
    assert str(line_of(payments("100", events=5), **FREE).amount) == "9"
    assert str(line_of(payments("1000", events=1), **FREE).amount) == "16"
    assert invoice_of(payments("200", events=2), **FREE).lines == ()


@pytest.mark.parametrize(
    ("prorate", "amount"),
    [
        # 10 of 31 days: 65 yen and 1 event are free, rounded up from 64.5 and 0.6
        (None, "24"),
        ("included", "24"),
        ("none", "19"),
    ],
)
def test_the_free_part_is_prorated_unless_the_charge_says_otherwise(prorate: str | None, amount: str) -> None:
    fields = FREE | ({"prorate": prorate} if prorate else {})
    line = line_of(payments("700", events=5, first=25), first=22, **fields)
    assert str(line.amount) == amount


def test_only_days_with_the_plan_count() -> None:
    assert str(line_of(payments("100", "100", "100", first=9), last=10).amount) == "4"


def test_only_the_charges_meter_counts() -> None:
    assert str(line_of(payments("100") + payments("900", meter="refunds")).amount) == "2"


def test_a_meter_without_a_row_is_a_remark_and_no_line() -> None:
    invoice = invoice_of(payments("900", meter="refunds"))
    assert invoice.lines == ()
    assert invoice.remarks == ("計測額（payments）の記録がないため、「決済手数料」は請求していません",)


def test_a_part_of_the_month_without_rows_is_a_remark() -> None:
    parts = (part(plan("0", fee_on_payments()), 1, 15), part(plan("0", fee_on_payments()), 16, 31))
    invoice = price(inputs(parts=parts, metered=payments("100", first=20)))
    assert [str(line.amount) for line in invoice.lines] == ["2"]
    assert invoice.remarks == (
        "計測額（payments）の記録がないため、「決済手数料」（10/1〜10/15）は請求していません",
    )


def test_a_minimum_is_charged_whole_with_and_without_a_row() -> None:
    invoice = invoice_of((), first=22, minimum=50)
    assert [str(line.amount) for line in invoice.lines] == ["50"]
    assert invoice.remarks == (
        "計測額（payments）の記録がないため、「決済手数料」（10/22〜10/31）は最低額だけを請求しています",
    )
    line = line_of(payments("1000", first=22), first=22, minimum=50)
    assert str(line.amount) == "50"
    assert line.explanation[-1] == "最低額 50 円との差額 30 円を加算（計算額 20 円）"


def test_an_amount_in_another_currency_is_refused() -> None:
    with pytest.raises(BillingError, match=r"2026-10-01 の計測額「payments」の通貨 USD が.*JPY") as refusal:
        invoice_of(payments("100", currency="USD"))
    assert refusal.value.code == "METERED_CURRENCY"
    assert "batch.metered_amount を直してください" in str(refusal.value)


def test_another_currency_on_uncharged_days_does_not_matter() -> None:
    assert invoice_of(payments("100", currency="USD", first=5), first=6).lines == ()


def test_a_prorated_free_amount_is_rounded_up_to_minor_units() -> None:
    priced = part(plan("0", fee_on_payments(rate=100, free_amount=100), currency="USD"), 1, 1)
    month = inputs(
        parts=(priced,), currency="USD", metered=payments("10.00", currency="USD"), exchange_rate=yen("150")
    )
    (line,) = price(month).lines
    assert str(line.amount) == "6.77"  # 100 / 31 = 3.2258... is free


def test_it_is_usage_of_which_another_charge_may_be_a_percentage() -> None:
    share = {"name": "share", "model": "percentage", "metric": "api_calls", "aggregation": "sum"}
    charges = (share | {"of": "usage", "rate": 50}, fee_on_payments())
    lines = price(inputs(parts=(part(plan("0", *charges)),), metered=payments("1000"))).lines
    assert [str(line.amount) for line in lines] == ["20", "10"]


def test_the_operators_see_the_amount_and_the_events_of_each_day() -> None:
    metered = payments("1000.5", "200", events=1234) + payments("7", meter="refunds")
    month = inputs(
        parts=(part(plan("0", fee_on_payments(rate=1, fixed_amount=1)), 1, 1),),
        usage_days=usage_days(1, 1),
        metered=metered,
    )
    rows = list(explain(price(month), month))
    at = rows.index("  日        payments(金額)  件数")
    assert rows[at + 1 : at + 3] == [
        "  2026-10-01  1,000.5 JPY  1,234",
        "明細（番号は請求書の行、– は 0 のため載らない行）:",
    ]


def test_inputs_without_metered_amounts_are_stored_as_before() -> None:
    assert "metered" not in inputs().frozen()
    month = inputs(parts=(part(plan("0", fee_on_payments())),), metered=payments("100"))
    again = type(month).model_validate_json(month.canonical_json())
    assert (again.digest(), calculate(again).lines) == (month.digest(), calculate(month).lines)
