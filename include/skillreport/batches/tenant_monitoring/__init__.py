"""BATCH-018-03 テナント状態監視."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.tenant_monitoring.batch import TenantMonitoringBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> TenantMonitoringBatch:
    """The batch with the deployed settings and price list. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.tenant_monitoring.batch import TenantMonitoringBatch
    from include.skillreport.batches.tenant_monitoring.settings import MonitoringSettings
    from include.skillreport.billing.pricing.price_list import load_price_list
    from include.skillreport.billing.settings import UsageSettings

    return TenantMonitoringBatch(MonitoringSettings.load(), UsageSettings.load(), load_price_list())
