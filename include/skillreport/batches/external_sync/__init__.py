"""BATCH-019-03 外部システム連携."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.external_sync.batch import ExternalSyncBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> ExternalSyncBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.external_sync.batch import ExternalSyncBatch
    from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
    from include.skillreport.messaging.settings import NotificationSettings

    return ExternalSyncBatch(ExternalSyncSettings.load(), NotificationSettings.load())
