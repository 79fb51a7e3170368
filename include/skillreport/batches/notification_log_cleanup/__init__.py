"""BATCH-019-04 通知ログクリーンアップ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.notification_log_cleanup.batch import NotificationLogCleanupBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> NotificationLogCleanupBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.notification_log_cleanup.batch import NotificationLogCleanupBatch
    from include.skillreport.messaging.settings import NotificationSettings

    return NotificationLogCleanupBatch(NotificationSettings.load())
