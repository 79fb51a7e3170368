"""When an invoice waits for an operator: its total has changed too much, or too many rows of the host name nobody."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.billing.approval import PreviousTotal, UnplacedRows, change_reason, unplaced_reason
from include.settings import IdentitySettings


def held(total: str, previous: str, *, percent: str = "50") -> str | None:
    return change_reason(Decimal(total), "JPY", PreviousTotal(Decimal(previous), "JPY"), Decimal(percent))


@pytest.mark.parametrize(
    ("total", "is_held"),
    [("15000", False), ("15001", True), ("10000", False), ("5000", False), ("4999", True), ("0", True)],
)
def test_a_total_is_held_when_it_differs_by_more_than_the_percentage_in_either_direction(
    total: str, is_held: bool
) -> None:
    assert (held(total, "10000") is not None) is is_held


@pytest.mark.parametrize(("total", "is_held"), [("10000", False), ("10001", True), ("9999", True)])
def test_with_0_percent_every_change_is_held(total: str, is_held: bool) -> None:
    assert (held(total, "10000", percent="0") is not None) is is_held


def test_the_reason_names_both_totals_and_the_change() -> None:
    assert held("25000", "10000") == (
        "請求額 25,000 JPY が前月の 10,000 JPY から 50 % を超えて変わりました（+150.0 %）"
    )
    assert held("2500", "10000", percent="50.0") == (
        "請求額 2,500 JPY が前月の 10,000 JPY から 50 % を超えて変わりました（-75.0 %）"
    )


def test_anything_is_too_much_after_a_month_of_0() -> None:
    assert held("1", "0") == "請求額 1 JPY が前月の 0 JPY から 50 % を超えて変わりました（前月は 0）"
    assert held("0", "0") is None


def test_the_first_month_has_nothing_to_be_held_against() -> None:
    assert change_reason(Decimal(10**9), "JPY", None, Decimal(50)) is None


def test_another_currency_cannot_be_compared() -> None:
    reason = change_reason(Decimal(100), "USD", PreviousTotal(Decimal(100), "JPY"), Decimal(50))
    assert reason == "前月は JPY 建てで、比較できません"


# More than 10, and more than 1 %.
THRESHOLDS = IdentitySettings(
    placeholders=(), watched_keys=(), system_keys=(), unplaced_events=10, unplaced_percent=Decimal(1)
)


@pytest.mark.parametrize(
    ("unplaced", "read", "is_held"),
    [(10, 10, False), (11, 11, True), (11, 1099, True), (11, 1100, False), (0, 0, False)],
)
def test_rows_that_name_nobody_are_too_many_only_beyond_both_thresholds(
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
