"""BATCH-018-04 非アクティブテナント検知."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.inactive_tenants.batch import InactiveTenantsBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> InactiveTenantsBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.inactive_tenants.batch import InactiveTenantsBatch
    from include.skillreport.batches.inactive_tenants.settings import InactivitySettings
    from include.skillreport.messaging.settings import NotificationSettings

    return InactiveTenantsBatch(InactivitySettings.load(), NotificationSettings.load())
