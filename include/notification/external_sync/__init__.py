"""BATCH-019-03 外部システム連携."""

from include.notification.external_sync.batch import ExternalSyncBatch
from include.settings import load_settings


def create_batch() -> ExternalSyncBatch:
    """The batch with the deployed settings."""
    settings = load_settings()
    return ExternalSyncBatch(settings.external_sync, settings.notification)
