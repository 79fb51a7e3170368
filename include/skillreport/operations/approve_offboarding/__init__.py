"""Delete a leaving tenant after another user has approved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.approve_offboarding.batch import OffboardingApproval


def create_batch(installation: Installation) -> OffboardingApproval:
    """The approval. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.data_backup.access import BackupAccess
    from include.skillreport.batches.data_backup.settings import BackupSettings
    from include.skillreport.billing.settings import BillingSettings
    from include.skillreport.operations.approve_offboarding.batch import OffboardingApproval

    access = BackupAccess(BackupSettings.load(), installation)
    return OffboardingApproval(access, BillingSettings.load().issuer)
