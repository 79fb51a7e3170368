"""BATCH-018-01 テナント使用量集計."""

from include.billing.price_list import load_price_list
from include.settings import load_settings
from include.tenant_management.tenant_usage.batch import TenantUsageBatch


def create_batch() -> TenantUsageBatch:
    """The batch with the deployed settings and price list."""
    return TenantUsageBatch(load_settings(), load_price_list())
