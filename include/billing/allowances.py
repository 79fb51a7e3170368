"""What a tenant's contract and plan allow it: what its storage and its month's API calls are held against."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from include.billing.price_list import PriceList
from include.billing.usage import Metric
from include.settings import UsageSettings


def with_allowances(
    settings: UsageSettings, price_list: PriceList, *, plan: str | None, max_storage_gb: int | None, day: date
) -> UsageSettings:
    """The settings with the tenant's allowances: its contract's over its plan's as of the day's month; None where nothing limits it."""
    allowances = price_list.included(plan, day.replace(day=1))
    # A contract with 0 GB is a field left at its default, not a promise of no storage; below 0 it is a mistake.
    is_negotiated = max_storage_gb is not None and max_storage_gb > 0
    storage_gb = max_storage_gb if is_negotiated else allowances.get(Metric.STORAGE_GB)
    api_calls = allowances.get(Metric.API_CALLS)
    return settings.model_copy(
        update={
            "storage_gb": None if storage_gb is None else Decimal(storage_gb),
            "api_calls_per_month": None if api_calls is None else int(api_calls),
        }
    )
