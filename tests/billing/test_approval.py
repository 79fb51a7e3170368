"""An invoice waits for an operator if its total has changed too much, or if too many rows of the host name no person."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from include.skillreport.billing.approval import (
    OneOffLine,
    PreviousTotal,
    UnplacedRows,
    base_fees,
    change_reason,
    first_invoice_reason,
    one_off_reason,
    recurring_subtotal,
    unplaced_reason,
)
from include.skillreport.billing.documents.invoice import LineKind
from include.skillreport.core.execution.settings import IdentitySettings
from tests.worlds import sample_invoices as samples


def held(
    recurring: str, previous: str, *, percent: str = "50", days: tuple[int, int] = (31, 31)
) -> str | None:
    """Both months have ¥1,000 of one-off lines and tax as well. ``days``: billed, and of the month."""
    before = PreviousTotal(Decimal(previous) + 1000, Decimal(previous), "JPY", *days)
    return change_reason(Decimal(recurring) + 1000, Decimal(recurring), "JPY", before, Decimal(percent))


@pytest.mark.parametrize(
    ("total", "is_held"),
    [("15000", False), ("15001", True), ("10000", False), ("5000", False), ("4999", True), ("0", True)],
)
def test_a_total_is_held_above_the_percentage_in_either_direction(total: str, is_held: bool) -> None:
    assert (held(total, "10000") is not None) is is_held


@pytest.mark.parametrize(("total", "is_held"), [("10000", False), ("10001", True), ("9999", True)])
def test_with_0_percent_every_change_is_held(total: str, is_held: bool) -> None:
    assert (held(total, "10000", percent="0") is not None) is is_held


def test_the_reason_names_both_subtotals_both_totals_and_the_change() -> None:
    assert held("25000", "10000") == (
        "個別明細を除く小計が前月の 10,000 JPY から 25,000 JPY へ、50 % を超えて変わりました"
        "（+150.0 %、請求額は 11,000 JPY から 26,000 JPY）"
    )
    assert held("2500", "10000", percent="50.0") == (
        "個別明細を除く小計が前月の 10,000 JPY から 2,500 JPY へ、50 % を超えて変わりました"
        "（-75.0 %、請求額は 11,000 JPY から 3,500 JPY）"
    )


def test_a_short_month_is_scaled_and_the_reason_names_its_days() -> None:
    assert held("20000", "3870", days=(12, 31)) == (
        "個別明細を除く小計が前月の 3,870 JPY（31 日のうち 12 日分）から 20,000 JPY へ、1 か月分に換算して "
        "50 % を超えて変わりました（+100.1 %、請求額は 4,870 JPY から 21,000 JPY）"
    )


@pytest.mark.parametrize("billed", [3, 7, 11, 13, 30])
def test_exactly_the_percentage_is_not_held_whatever_the_days(billed: int) -> None:
    """40,000 × 31 × 1.5 is 620,000 × 3 days."""
    current = 40_000 * 31 * 3 // 2
    assert held(str(current), str(40_000 * billed), days=(billed, 31)) is None
    reason = held(str(current + 1), str(40_000 * billed), days=(billed, 31))
    assert reason is not None
    assert "（+50.1 %、" in reason


def test_anything_is_too_much_after_a_month_of_0() -> None:
    reason = held("1", "0")
    assert reason is not None
    assert reason.endswith("（前月は 0、請求額は 1,000 JPY から 1,001 JPY）")
    assert held("0", "0") is None


def test_one_off_lines_are_not_compared() -> None:
    lines = [samples.line(1, "基本料金", "10000"), samples.line(2, "設定作業", "9999", kind=LineKind.EXTRA)]
    assert recurring_subtotal(samples.invoice(lines)) == 10_000


def test_the_first_month_has_nothing_to_be_held_against() -> None:
    assert change_reason(Decimal(10**9), Decimal(10**9), "JPY", None, Decimal(50)) is None


def test_another_currency_cannot_be_compared() -> None:
    amount = Decimal(100)
    reason = change_reason(amount, amount, "USD", PreviousTotal(amount, amount, "JPY"), Decimal(50))
    assert reason == "請求額 100 USD を前月の 100 JPY と比較できません（通貨が違います）"


# More than 10, and more than 1 %.
THRESHOLDS = IdentitySettings(
    placeholders=(), watched_keys=(), system_keys=(), unplaced_events=10, unplaced_percent=Decimal(1)
)


@pytest.mark.parametrize(
    ("unplaced", "read", "is_held"),
    [(10, 10, False), (11, 11, True), (11, 1099, True), (11, 1100, False), (0, 0, False)],
)
def test_rows_that_name_no_person_are_too_many_only_above_both_thresholds(
    unplaced: int, read: int, is_held: bool
) -> None:
    events = UnplacedRows(events=unplaced, read_events=read, accounts=0, read_accounts=0)
    accounts = UnplacedRows(events=0, read_events=0, accounts=unplaced, read_accounts=read)
    assert [unplaced_reason(rows, THRESHOLDS) is not None for rows in (events, accounts)] == [is_held] * 2


def test_the_reason_names_only_what_is_too_much() -> None:
    events = "利用者を特定できない操作が 24 件（読み取り 310 件の 7.7 %）"
    accounts = "従業員のないアカウントが 1,200 件（アカウント 4,000 件の 30.0 %）"
    ending = (
        "あり、利用者数に含めていません。アプリケーションの記録を直したら、BATCH-018-01 をその月の各日で実行してから"
        "請求を計算し直すと、保留は解けます"
    )
    assert unplaced_reason(UnplacedRows(24, 310, 10, 40), THRESHOLDS) == events + ending
    assert unplaced_reason(UnplacedRows(24, 10_000, 1_200, 4_000), THRESHOLDS) == accounts + ending
    assert unplaced_reason(UnplacedRows(24, 310, 1_200, 4_000), THRESHOLDS) == f"{events}、{accounts}{ending}"


# One-off lines ---------------------------------------------------------------------------------------------------------


def one_off(*amounts: str, recurring: str = "10000", percent: str = "50") -> str | None:
    lines = [
        OneOffLine(date(2026, 10, day), f"作業 {day}", Decimal(amount))
        for day, amount in enumerate(amounts, 1)
    ]
    return one_off_reason(lines, Decimal(recurring), "JPY", Decimal(percent))


@pytest.mark.parametrize(
    ("amounts", "is_held"),
    [
        ((), False),
        (("5000",), False),
        (("5001",), True),
        (("-5001",), True),
        (("2500", "-2500"), False),
        (("2501", "-2500"), True),
    ],
)
def test_one_off_lines_are_held_above_the_percentage_without_their_signs(
    amounts: tuple[str, ...], is_held: bool
) -> None:
    assert (one_off(*amounts) is not None) is is_held


def test_any_one_off_line_is_held_without_a_recurring_subtotal() -> None:
    assert one_off("1", recurring="0") is not None
    assert one_off(recurring="0") is None


def test_the_reason_names_the_one_off_lines_and_their_amounts() -> None:
    assert one_off("50000000", "-3000") == (
        "未承認の個別明細の合計 50,003,000 JPY が、個別明細を除く小計 10,000 JPY の 50 % を超えます"
        "（2026-10-01「作業 1」50,000,000 JPY、2026-10-02「作業 2」-3,000 JPY）"
    )
    reason = one_off(*["6000"] * 7)
    assert reason is not None
    assert reason.endswith("「作業 5」6,000 JPY、ほか 2 件）")


# A tenant's first invoice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recurring", "is_held"), [("15000", False), ("15001", True), ("5000", False), ("4999", True)]
)
def test_a_first_invoice_is_compared_with_the_base_fee(recurring: str, is_held: bool) -> None:
    reason = first_invoice_reason(Decimal(recurring), Decimal(10_000), "JPY", Decimal(50))
    assert (reason is not None) is is_held


def test_the_reason_of_a_first_invoice_names_subtotal_and_base_fee() -> None:
    lines = [
        samples.line(1, "基本料金", "10000", kind=LineKind.BASE_FEE),
        samples.line(2, "追加利用者", "20000", kind=LineKind.USAGE),
    ]
    invoice = samples.invoice(lines)
    reason = first_invoice_reason(recurring_subtotal(invoice), base_fees(invoice), "JPY", Decimal(50))
    assert reason == (
        "最初の請求書で、個別明細を除く小計 30,000 JPY が、基本料金 10,000 JPY と 50 % を超えて違います"
    )
