"""Operations on messages, channels and suppressed addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.messaging.service import OffersNotifications
    from include.skillreport.operations.operate_notifications.batch import NotificationOperations


def create_batch(installation: OffersNotifications) -> NotificationOperations:
    """The operations with the notifications of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.operate_notifications.batch import NotificationOperations

    return NotificationOperations(installation.notifications())
