"""BATCH-019-01 定期通知送信."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.messaging.service import OffersNotifications
    from include.notification.scheduled_notifications.batch import ScheduledNotificationsBatch


def create_batch(installation: OffersNotifications) -> ScheduledNotificationsBatch:
    """The batch with the notifications of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.notification.scheduled_notifications.batch import ScheduledNotificationsBatch

    return ScheduledNotificationsBatch(installation.notifications())
