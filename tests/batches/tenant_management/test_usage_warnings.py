"""When usage is worth a warning: quotas and surges, at their edges."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.batches.tenant_usage.warnings import UsageFigures, UsageWarning, usage_warnings
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.billing.settings import UsageSettings

DAY = date(2026, 10, 31)


def settings(**changes: object) -> UsageSettings:
    return UsageSettings.load().model_copy(update=changes)


def figures(
    *,
    storage_bytes: int = 0,
    api_calls: int = 0,
    month_api_calls: int | None = None,
    means: dict[str, Decimal] | None = None,
    history_days: int = 0,
) -> UsageFigures:
    return UsageFigures(
        metrics={
            "active_users": 0,
            "storage_bytes": storage_bytes,
            "api_calls": api_calls,
            "reports_generated": 0,
        },
        month_api_calls=api_calls if month_api_calls is None else month_api_calls,
        means=means or {},
        history_days=dict.fromkeys(means or {}, history_days),
    )


def thresholds(warnings: tuple[UsageWarning, ...]) -> list[tuple[str, str, int]]:
    return [(warning.kind, warning.metric, int(warning.threshold_percent)) for warning in warnings]


@pytest.mark.parametrize(
    ("used", "passed"),
    [(0, []), (799, []), (800, [80]), (949, [80]), (950, [80, 95]), (1000, [80, 95]), (5000, [80, 95])],
)
def test_the_months_calls_pass_a_threshold_exactly_at_its_percentage(used: int, passed: list[int]) -> None:
    found = usage_warnings(DAY, figures(month_api_calls=used), settings(api_calls_per_month=1000))
    assert thresholds(found) == [("quota", "api_calls", threshold) for threshold in passed]


def test_storage_is_held_against_gigabytes_of_1024_cubed() -> None:
    limits = settings(storage_gb=Decimal(10))
    assert not usage_warnings(DAY, figures(storage_bytes=8 * BYTES_PER_GB - 1), limits)
    assert thresholds(usage_warnings(DAY, figures(storage_bytes=8 * BYTES_PER_GB), limits)) == [
        ("quota", "storage_bytes", 80)
    ]


def test_a_quota_warning_belongs_to_its_month() -> None:
    (warning,) = usage_warnings(DAY, figures(month_api_calls=80), settings(api_calls_per_month=100))
    assert warning.window_start == date(2026, 10, 1)


@pytest.mark.parametrize("quota", [None, 0, -1])
def test_an_absent_zero_or_negative_quota_never_divides_and_never_warns(quota: int | None) -> None:
    limits = settings(api_calls_per_month=quota, storage_gb=None if quota is None else Decimal(quota))
    assert usage_warnings(DAY, figures(storage_bytes=10**15, month_api_calls=10**9), limits) == ()


@pytest.mark.parametrize(("calls", "flagged"), [(2000, False), (2001, True)])
def test_a_surge_is_strictly_above_200_percent_of_the_mean(calls: int, flagged: bool) -> None:
    usage = figures(api_calls=calls, means={"api_calls": Decimal(1000)}, history_days=28)
    assert bool(usage_warnings(DAY, usage, settings())) is flagged


@pytest.mark.parametrize(("days", "flagged"), [(6, False), (7, True)])
def test_a_surge_needs_a_week_of_closed_days(days: int, flagged: bool) -> None:
    usage = figures(api_calls=1000, means={"api_calls": Decimal(1)}, history_days=days)
    assert bool(usage_warnings(DAY, usage, settings())) is flagged


def test_the_days_of_another_metric_are_no_history() -> None:
    usage = figures(api_calls=1000, means={"api_calls": Decimal(1)}, history_days=1)
    usage.history_days["active_users"] = 28
    assert usage_warnings(DAY, usage, settings()) == ()


def test_an_idle_tenant_has_no_mean_and_no_surge_warning() -> None:
    usage = figures(api_calls=1000, means={"api_calls": Decimal(0)}, history_days=28)
    assert usage_warnings(DAY, usage, settings()) == ()


@pytest.mark.parametrize(("calls", "flagged"), [(999, False), (1000, True)])
def test_few_calls_are_no_surge_however_few_there_were_before(calls: int, flagged: bool) -> None:
    usage = figures(api_calls=calls, means={"api_calls": Decimal(1)}, history_days=28)
    assert bool(usage_warnings(DAY, usage, settings())) is flagged


@given(
    used=st.integers(min_value=0, max_value=10**12),
    more=st.integers(min_value=0, max_value=10**12),
    quota=st.integers(min_value=1, max_value=10**9),
)
def test_more_usage_never_passes_fewer_thresholds(used: int, more: int, quota: int) -> None:
    limits = settings(api_calls_per_month=quota)
    fewer = thresholds(usage_warnings(DAY, figures(month_api_calls=used), limits))
    assert (
        thresholds(usage_warnings(DAY, figures(month_api_calls=used + more), limits))[: len(fewer)] == fewer
    )
