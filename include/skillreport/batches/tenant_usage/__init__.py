"""BATCH-018-01 テナント使用量集計."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.tenant_usage.batch import TenantUsageBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> TenantUsageBatch:
    """The batch with the deployed settings and price list. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.tenant_usage.batch import TenantUsageBatch
    from include.skillreport.billing.pricing.price_list import load_price_list
    from include.skillreport.billing.settings import UsageSettings
    from include.skillreport.messaging.settings import NotificationSettings

    return TenantUsageBatch(UsageSettings.load(), NotificationSettings.load(), load_price_list())
