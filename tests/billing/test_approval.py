"""When a total waits for an operator."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.billing.approval import PreviousTotal, hold_reason


def held(total: str, previous: str, *, percent: str = "50") -> str | None:
    return hold_reason(Decimal(total), "JPY", PreviousTotal(Decimal(previous), "JPY"), Decimal(percent))


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
    assert hold_reason(Decimal(10**9), "JPY", None, Decimal(50)) is None


def test_another_currency_cannot_be_compared() -> None:
    reason = hold_reason(Decimal(100), "USD", PreviousTotal(Decimal(100), "JPY"), Decimal(50))
    assert reason == "前月は JPY 建てで、比較できません"
