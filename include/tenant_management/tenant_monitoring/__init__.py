"""BATCH-018-03 テナント状態監視."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.execution.installation import Installation
    from include.tenant_management.tenant_monitoring.batch import TenantMonitoringBatch


def create_batch(_: Installation) -> TenantMonitoringBatch:
    """The batch with the deployed settings and price list. A task calls this; parsing a DAG file loads nothing."""
    from include.billing.pricing.price_list import load_price_list
    from include.settings import load_settings
    from include.tenant_management.tenant_monitoring.batch import TenantMonitoringBatch

    return TenantMonitoringBatch(load_settings(), load_price_list())
