"""BATCH-019-04 通知ログクリーンアップ."""

from include.notification.notification_log_cleanup.batch import NotificationLogCleanupBatch
from include.settings import load_settings


def create_batch() -> NotificationLogCleanupBatch:
    """The batch with the deployed settings."""
    return NotificationLogCleanupBatch(load_settings().notification)
