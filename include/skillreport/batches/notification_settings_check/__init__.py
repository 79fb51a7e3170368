"""BATCH-019-05 通知設定検証."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.notification_settings_check.batch import NotificationSettingsCheckBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> NotificationSettingsCheckBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.notification_settings_check.batch import NotificationSettingsCheckBatch
    from include.skillreport.messaging.settings import NotificationSettings

    return NotificationSettingsCheckBatch(NotificationSettings.load())
