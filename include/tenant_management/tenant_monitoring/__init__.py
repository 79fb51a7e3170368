"""BATCH-018-03 テナント状態監視."""

from include.billing.price_list import load_price_list
from include.settings import load_settings
from include.tenant_management.tenant_monitoring.batch import TenantMonitoringBatch


def create_batch() -> TenantMonitoringBatch:
    """The batch with the deployed settings and price list."""
    return TenantMonitoringBatch(load_settings(), load_price_list())
