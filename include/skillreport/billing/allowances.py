"""A tenant's allowances for storage and API calls, from its contract and its plan."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from include.skillreport.billing.pricing.price_list import PriceList
from include.skillreport.billing.pricing.usage import Metric
from include.skillreport.billing.settings import UsageSettings


def with_allowances(
    settings: UsageSettings, price_list: PriceList, *, plan: str | None, max_storage_gb: int | None, day: date
) -> UsageSettings:
    """The settings with the tenant's allowances in the day's month. The contract overrides the plan; None means no limit."""
    allowances = price_list.included(plan, day.replace(day=1))
    # 0 GB is the field's default, and a negative value is a mistake: both mean that no limit is agreed.
    is_negotiated = max_storage_gb is not None and max_storage_gb > 0
    storage_gb = max_storage_gb if is_negotiated else allowances.get(Metric.STORAGE_GB)
    api_calls = allowances.get(Metric.API_CALLS)
    return settings.model_copy(
        update={
            "storage_gb": None if storage_gb is None else Decimal(storage_gb),
            "api_calls_per_month": None if api_calls is None else int(api_calls),
        }
    )
