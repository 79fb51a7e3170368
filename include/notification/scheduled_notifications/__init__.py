"""BATCH-019-01 定期通知送信."""

from include.notification.scheduled_notifications.batch import ScheduledNotificationsBatch
from include.settings import load_settings


def create_batch() -> ScheduledNotificationsBatch:
    """The batch with the deployed settings."""
    return ScheduledNotificationsBatch(load_settings().notification)
