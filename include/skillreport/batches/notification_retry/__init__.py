"""BATCH-019-02 通知失敗リトライ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.notification_retry.batch import NotificationRetryBatch
    from include.skillreport.messaging.service import OffersNotifications


def create_batch(installation: OffersNotifications) -> NotificationRetryBatch:
    """The batch with the notifications of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.notification_retry.batch import NotificationRetryBatch

    return NotificationRetryBatch(installation.notifications())
