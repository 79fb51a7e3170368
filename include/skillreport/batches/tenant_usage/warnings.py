"""Warnings about a tenant's usage: nearly used quotas, and days far above the mean.

Source: BATCH-018-01's rules; the thresholds are settings. Pure: figures in, warnings out. The tenant's administrator gets an e-mail about a
quota. Surges are only shown; BATCH-018-03 has its own limits for alerts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.billing.settings import UsageSettings


@dataclass(frozen=True)
class UsageFigures:
    """A tenant's usage on the business date, and the values for comparison.

    Storage is in bytes. ``month_api_calls`` counts the month up to and including the business date. ``means`` are each metric's mean over
    earlier closed days, ``history_days`` the number of these days with the metric. A figure without a source in the host is None.
    """

    metrics: dict[str, int | None]
    month_api_calls: int | None
    means: dict[str, Decimal]
    history_days: dict[str, int]


@dataclass(frozen=True)
class UsageWarning:
    """A passed threshold. ``reference`` is the allowance (quota) or the mean (surge), in the unit of ``observed``."""

    kind: str
    metric: str
    threshold_percent: Decimal
    window_start: date
    observed: Decimal
    reference: Decimal


def usage_warnings(
    business_date: date, usage: UsageFigures, settings: UsageSettings
) -> tuple[UsageWarning, ...]:
    """All warnings of a day. An absent, zero or negative quota gives no warning, because it limits nothing."""
    storage = None if settings.storage_gb is None else settings.storage_gb * BYTES_PER_GB
    api_calls = None if settings.api_calls_per_month is None else Decimal(settings.api_calls_per_month)
    return (
        *_quota(business_date, "storage_bytes", usage.metrics["storage_bytes"], storage, settings),
        *_quota(business_date, "api_calls", usage.month_api_calls, api_calls, settings),
        *_surges(business_date, usage, settings),
    )


def _quota(
    business_date: date, metric: str, figure: int | None, allowance: Decimal | None, settings: UsageSettings
) -> Iterator[UsageWarning]:
    if figure is None or allowance is None or allowance <= 0:
        return
    observed = Decimal(figure)
    for threshold in (settings.quota_warning_percent, settings.quota_critical_percent):
        if observed * 100 >= threshold * allowance:
            month = business_date.replace(day=1)
            yield UsageWarning("quota", metric, threshold, month, observed, allowance)


def _surges(business_date: date, usage: UsageFigures, settings: UsageSettings) -> Iterator[UsageWarning]:
    floors = {
        "active_users": Decimal(settings.surge_min_active_users),
        "storage_bytes": settings.surge_min_storage_gb * BYTES_PER_GB,
        "api_calls": Decimal(settings.surge_min_api_calls),
        "reports_generated": Decimal(settings.surge_min_reports_generated),
    }
    for metric, mean in usage.means.items():
        figure = usage.metrics[metric]
        if figure is None or usage.history_days[metric] < settings.surge_min_history_days:
            continue
        observed = Decimal(figure)
        if mean > 0 and observed >= floors[metric] and observed * 100 > settings.surge_percent * mean:
            yield UsageWarning("surge", metric, settings.surge_percent, business_date, observed, mean)
