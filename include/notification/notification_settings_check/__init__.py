"""BATCH-019-05 通知設定検証."""

from include.notification.notification_settings_check.batch import NotificationSettingsCheckBatch
from include.settings import load_settings


def create_batch() -> NotificationSettingsCheckBatch:
    """The batch with the deployed settings."""
    return NotificationSettingsCheckBatch(load_settings().notification)
