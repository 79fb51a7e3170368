"""Offboard a tenant: export its rows, wait, and ask another user to approve the deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.offboard_tenant.batch import TenantOffboarding


def create_batch(installation: Installation) -> TenantOffboarding:
    """The stages before the approval. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.data_backup.access import BackupAccess
    from include.skillreport.batches.data_backup.settings import BackupSettings
    from include.skillreport.billing.settings import BillingSettings
    from include.skillreport.operations.offboard_tenant.batch import TenantOffboarding
    from include.skillreport.operations.offboard_tenant.settings import OffboardingSettings

    access = BackupAccess(BackupSettings.load(), installation)
    return TenantOffboarding(access, OffboardingSettings.load(), BillingSettings.load().issuer)
