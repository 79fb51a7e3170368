"""BATCH-018-02 テナント課金計算."""

from include.settings import load_settings
from include.tenant_management.billing.ledger import Terms
from include.tenant_management.billing.price_list import load_price_list
from include.tenant_management.tenant_billing.batch import TenantBillingBatch


def create_batch() -> TenantBillingBatch:
    """The batch with the deployed price list and settings."""
    return TenantBillingBatch(Terms(load_price_list(), load_settings().billing))
