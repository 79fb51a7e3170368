"""BATCH-019-02 通知失敗リトライ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.messaging.service import OffersNotifications
    from include.notification.notification_retry.batch import NotificationRetryBatch


def create_batch(installation: OffersNotifications) -> NotificationRetryBatch:
    """The batch with the notifications of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.notification.notification_retry.batch import NotificationRetryBatch

    return NotificationRetryBatch(installation.notifications())
