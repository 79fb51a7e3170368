"""BATCH-018-04 非アクティブテナント検知."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.execution.installation import Installation
    from include.tenant_management.inactive_tenants.batch import InactiveTenantsBatch


def create_batch(_: Installation) -> InactiveTenantsBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.settings import load_settings
    from include.tenant_management.inactive_tenants.batch import InactiveTenantsBatch

    return InactiveTenantsBatch(load_settings())
