"""Apply held directory changes that a user has approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.approve_directory_changes.batch import DirectoryApproval


def create_batch(_: Installation) -> DirectoryApproval:
    """The approval with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
    from include.skillreport.messaging.settings import NotificationSettings
    from include.skillreport.operations.approve_directory_changes.batch import DirectoryApproval

    return DirectoryApproval(ExternalSyncSettings.load(), NotificationSettings.load())
