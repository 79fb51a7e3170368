"""BATCH-019-02 通知失敗リトライ."""

from include.notification.notification_retry.batch import NotificationRetryBatch


def create_batch() -> NotificationRetryBatch:
    """The batch; it has no settings."""
    return NotificationRetryBatch()
