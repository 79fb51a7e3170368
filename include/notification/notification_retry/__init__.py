"""BATCH-019-02 通知失敗リトライ."""

from include.notification.notification_retry.batch import NotificationRetryBatch
from include.settings import load_settings


def create_batch() -> NotificationRetryBatch:
    """The batch with the deployed settings."""
    return NotificationRetryBatch(load_settings().notification)
