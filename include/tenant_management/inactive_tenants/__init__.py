"""BATCH-018-04 非アクティブテナント検知."""

from include.settings import load_settings
from include.tenant_management.inactive_tenants.batch import InactiveTenantsBatch


def create_batch() -> InactiveTenantsBatch:
    """The batch with the deployed settings."""
    return InactiveTenantsBatch(load_settings())
