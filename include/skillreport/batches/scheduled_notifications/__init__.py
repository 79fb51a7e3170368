"""BATCH-019-01 定期通知送信."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from include.skillreport.batches.scheduled_notifications.batch import ScheduledNotificationsBatch
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.messaging.service import OffersNotifications

    class _Installation(OffersNotifications, OffersBilling, Protocol):
        """The installation's interface that the batch needs."""


def create_batch(installation: _Installation) -> ScheduledNotificationsBatch:
    """The batch with the notifications and the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.scheduled_notifications.batch import ScheduledNotificationsBatch

    return ScheduledNotificationsBatch(installation.notifications(), installation.billing())
