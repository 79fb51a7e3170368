"""BATCH-018-02 テナント課金計算."""

from include.billing.terms import load_terms
from include.tenant_management.tenant_billing.batch import TenantBillingBatch


def create_batch() -> TenantBillingBatch:
    """The batch with the installation's price list and settings."""
    return TenantBillingBatch(load_terms())
