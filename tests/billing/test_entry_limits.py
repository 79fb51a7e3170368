"""How much one person may enter for a tenant and month."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.skillreport.billing.entry_limits import entry_limit


@pytest.mark.parametrize(
    ("months", "limit"),
    [
        ((), 50_000),
        (("0",), 50_000),
        (("16666",), 50_000),
        (("16667",), 50_001),
        (("20000",), 60_000),
        (("20000", "40000"), 90_000),
        (("10000",) * 11 + ("310000",), 105_000),
        (("100000", "100000", "100001"), 300_001),
        (("333333",), 999_999),
        (("333334",), 1_000_000),
        (("5000000",), 1_000_000),
        (("6666.67",), 50_000),
        (("20000.5",), 60_001),
    ],
)
def test_the_usual_limit_is_three_times_the_mean_within_bounds(months: tuple[str, ...], limit: int) -> None:
    assert entry_limit(None, [Decimal(month) for month in months]) == limit


@pytest.mark.parametrize("setting", [0, 1, 49_999, 2_000_000])
def test_the_setting_replaces_the_usual_limit(setting: int) -> None:
    assert entry_limit(setting, [Decimal(10_000)]) == setting
