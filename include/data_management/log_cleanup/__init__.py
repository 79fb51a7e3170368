"""BATCH-002 ログクリーンアップ."""

from include.data_management.log_cleanup.batch import LogCleanupBatch
from include.settings import load_settings


def create_batch() -> LogCleanupBatch:
    """The batch with the deployed settings."""
    return LogCleanupBatch(load_settings().log_cleanup)
